/** A conversation as a channel: appended to, replaced by id, shortened. Names as in LangGraph.js. */
import { invalid } from "../errors.ts";
import { Annotation, type AnnotationRoot, type Channel } from "./channels.ts";

export interface WithId {
  readonly id?: string | null | undefined;
}

/** A message of whatever library, by what most have in common. */
export interface Message extends WithId {
  readonly role: string;
  readonly content: unknown;
}

/** In an update of messages: takes the message of this id out. A plain object, so that it can be stored. */
export interface RemoveMessage {
  readonly __remove__: string;
}

export interface RemoveMessageConstructor {
  new (fields: { readonly id: string }): RemoveMessage;
  (fields: { readonly id: string }): RemoveMessage;
}

/** As an id to remove: everything that is there, and what stands before it in the same update. */
export const REMOVE_ALL_MESSAGES = "__remove_all__";

/** `new RemoveMessage({ id })` in an update takes a message out, with `REMOVE_ALL_MESSAGES` all of them. */
// A function: what a class makes has a prototype of its own, and could not be stored.
export const RemoveMessage: RemoveMessageConstructor = remover as unknown as RemoveMessageConstructor;

function remover(fields: { readonly id: string }): RemoveMessage {
  if (typeof fields?.id !== "string") throw invalid("RemoveMessage.id", "must be a message's id");
  return removeMessage(fields.id);
}

export function removeMessage(id: string): RemoveMessage {
  return { __remove__: id };
}

export function isRemoval(value: unknown): value is RemoveMessage {
  return typeof value === "object" && value !== null && "__remove__" in value && Object.keys(value).length === 1;
}

export type MessagesOf<M> = M | RemoveMessage | readonly (M | RemoveMessage)[];

/**
 * Places by id, shared by the lists that grew out of each other, so that an update costs what it brings and not what is
 * there. An entry counts where the list has that id at that place; a list that went another way gets places of its own.
 */
const places: WeakMap<readonly unknown[], Map<string, number>> = new WeakMap();

/** Lists up to here are looked through anew: to remember their places would take longer. */
const fewMax = 32;

/**
 * Appends; replaces in place where the id is known; removes. The same lists give the same result: a message without an
 * id stays without. Throws `InvalidArgument` for an unknown id to remove, and for what is no message.
 */
export function messagesReducer<M extends WithId>(current: readonly M[] | M, update: MessagesOf<M>): readonly M[] {
  const all = listOf<M | RemoveMessage>(update);
  const cleared = all.findLastIndex((entry) => isRemoval(entry) && entry.__remove__ === REMOVE_ALL_MESSAGES);
  const from: readonly M[] = cleared < 0 ? listOf<M>(current) : [];
  const few = from.length + all.length <= fewMax;
  let known = few ? indexed(from) : placesOf(from);
  const longer = cleared < 0 ? appended<M>(from, all, known) : undefined;
  if (longer && !few) places.set(longer, known);
  if (longer) return longer;
  const next = from.slice();
  const find = (id: string): number | undefined => {
    const at = known.get(id);
    if (at === undefined || next[at]?.id === id) return at;
    known = indexed(next);
    return known.get(id);
  };
  const removed = new Set<number>();
  for (let index = cleared + 1; index < all.length; index++) {
    const entry = all[index]!;
    if (isRemoval(entry)) {
      const at = find(entry.__remove__);
      if (at === undefined) throw unknownId(entry.__remove__, index);
      removed.add(at);
      continue;
    }
    const id = idOf(entry, index);
    const at = id === undefined ? undefined : find(id);
    if (at !== undefined) {
      next[at] = entry;
      removed.delete(at);
      continue;
    }
    if (id !== undefined) known.set(id, next.length);
    next.push(entry);
  }
  if (removed.size > 0) return next.filter((_message, index) => !removed.has(index));
  if (!few) places.set(next, known);
  return next;
}

/** Where all of the update is new: one copy of the list, where the way for all cases takes two or three. */
function appended<M extends WithId>(
  from: readonly M[],
  update: readonly (M | RemoveMessage)[],
  known: Map<string, number>,
): readonly M[] | undefined {
  for (let index = 0; index < update.length; index++) {
    const entry = update[index]!;
    if (isRemoval(entry)) return undefined;
    const id = idOf(entry, index);
    if (id === undefined) continue;
    if (known.has(id)) return undefined;
    known.set(id, from.length + index);
  }
  return from.concat(update as readonly M[]);
}

/** The names under which LangGraph.js has it. */
export const addMessages: typeof messagesReducer = messagesReducer;
export const messagesStateReducer: typeof messagesReducer = messagesReducer;

function listOf<T>(given: T | readonly T[]): readonly T[] {
  return Array.isArray(given) ? given : [given as T];
}

function placesOf(list: readonly WithId[]): Map<string, number> {
  const known = places.get(list) ?? indexed(list);
  places.set(list, known);
  return known;
}

function indexed(list: readonly WithId[]): Map<string, number> {
  const known = new Map<string, number>();
  for (let index = 0; index < list.length; index++) {
    const id = list[index]?.id;
    if (typeof id === "string") known.set(id, index);
  }
  return known;
}

function idOf(entry: unknown, index: number): string | undefined {
  if (typeof entry !== "object" || entry === null) throw invalid(`messages[${index}]`, "must be a message, an object");
  const { id } = entry as { readonly id?: unknown };
  if (id === undefined || id === null) return undefined;
  if (typeof id !== "string") throw invalid(`messages[${index}].id`, "must be a string");
  return id;
}

function unknownId(id: string, index: number): Error {
  return invalid(`messages[${index}]`, `there is no message with the id "${id}" to remove`);
}

/** A channel of messages of any shape that may have an id. */
export function messagesChannel<M extends WithId>(): Channel<readonly M[], MessagesOf<M>> {
  return Annotation<readonly M[], MessagesOf<M>>({ reducer: messagesReducer<M>, default: () => [] });
}

/** A state with a conversation; spread its `spec` to add more. */
export const MessagesAnnotation: AnnotationRoot<{
  readonly messages: Channel<readonly Message[], MessagesOf<Message>>;
}> = Annotation.Root({ messages: messagesChannel<Message>() });
