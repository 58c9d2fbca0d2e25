/** Mermaid's own parser, and a reader of XML, from tools/mermaid. */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { root } from "../../support/imports.ts";

export interface Flowchart {
  /** By id: the text that would be shown, and classes. */
  readonly vertices: ReadonlyMap<string, { readonly text: string; readonly classes: readonly string[] }>;
  readonly edges: readonly {
    readonly from: string;
    readonly to: string;
    readonly text: string;
    readonly stroke: string;
  }[];
  readonly groups: readonly { readonly id: string; readonly title: string; readonly members: readonly string[] }[];
  readonly description: string;
}

export interface Peer {
  /** Throws where Mermaid does not take the text. */
  readMermaid(text: string): Promise<Flowchart>;
  /** Throws for what is not well-formed. */
  readXml(text: string): XmlElement;
}

export interface XmlElement {
  readonly tagName: string;
  readonly textContent: string;
  readonly children: Iterable<XmlElement>;
  getAttribute(name: string): string | null;
  getAttributeNames(): string[];
  querySelectorAll(selector: string): Iterable<XmlElement>;
}

export async function loadPeer(): Promise<Peer> {
  const folder = join(root, "tools", "mermaid", "node_modules");
  const load = (...path: string[]) => import(pathToFileURL(join(folder, ...path)).href);
  const { JSDOM } = await load("jsdom", "lib", "api.js").then((module) => module.default ?? module);
  const { window } = new JSDOM("");
  // Mermaid looks for a document when it is loaded, to keep labels from doing harm.
  Object.assign(globalThis, { window, document: window.document });
  const { default: mermaid } = await load("mermaid", "dist", "mermaid.core.mjs");
  return {
    async readMermaid(text) {
      await mermaid.parse(text);
      const diagram = await mermaid.mermaidAPI.getDiagramFromText(text);
      return flowchartOf(diagram.db);
    },
    readXml(text) {
      const element = new window.DOMParser().parseFromString(text, "image/svg+xml").documentElement;
      if (element.tagName !== "svg") throw new Error(element.textContent);
      return element;
    },
  };
}

interface Database {
  getVertices(): Map<string, { text?: string; classes: string[] }>;
  getEdges(): { start: string; end: string; text: string; stroke: string }[];
  getSubGraphs(): { id: string; title: string; nodes: string[]; classes: string[] }[];
  getAccDescription(): string;
}

function flowchartOf(db: Database): Flowchart {
  const groups = db.getSubGraphs();
  const isGroup = new Set(groups.map(({ id }) => id));
  const vertices = [...db.getVertices()].filter(([id]) => !isGroup.has(id));
  return {
    vertices: new Map(
      [...vertices, ...groups.map((group) => [group.id, { ...group, text: group.title }] as const)].map(
        ([id, { text = "", classes }]) => [id, { text: shown(text), classes }],
      ),
    ),
    edges: db.getEdges().map(({ start, end, text, stroke }) => ({ from: start, to: end, text: shown(text), stroke })),
    groups: groups.map(({ id, title, nodes }) => ({ id, title: shown(title), members: nodes })),
    description: db.getAccDescription(),
  };
}

/** As Mermaid's `decodeEntities` and then a browser would have it. */
function shown(text: string): string {
  return text.replace(/ﬂ°°(\d+)¶ß/g, (_all, code) => String.fromCodePoint(Number(code)));
}
