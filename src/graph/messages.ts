/** A conversation as a channel: appended to, replaced by id, shortened. */
import { AgentmaticError } from "../errors.ts";
import { Annotation, type Channel } from "./channels.ts";

export interface WithId {
  readonly id?: string | undefined;
}

/** In an update of messages: takes the message of this id out. A plain object, so that it can be stored. */
export interface RemoveMessage {
  readonly __remove__: string;
}

/** As an id to remove: everything that is there, and what stands before it in the same update. */
export const REMOVE_ALL_MESSAGES = "__remove_all__";

/** `removeMessage(id)` in an update takes a message out; `removeMessage(REMOVE_ALL_MESSAGES)` takes all. */
export function removeMessage(id: string): RemoveMessage {
  return { __remove__: id };
}

export function isRemoval(value: unknown): value is RemoveMessage {
  return typeof value === "object" && value !== null && "__remove__" in value && Object.keys(value).length === 1;
}

export type MessagesOf<Message> = Message | RemoveMessage | readonly (Message | RemoveMessage)[];

/**
 * Places by id, shared by the lists that grew out of each other: an entry counts only where the list has that id at that
 * place, so that a list which went another way finds its own by looking.
 */
const places: WeakMap<readonly unknown[], Map<string, number>> = new WeakMap();

/** Appends, replaces in place where the id is known, removes. Throws `InvalidArgument` for an unknown id to remove. */
export function messagesReducer<Message extends WithId>(
  current: readonly Message[],
  update: MessagesOf<Message>,
): readonly Message[] {
  const updates = (Array.isArray(update) ? update : [update]) as readonly (Message | RemoveMessage)[];
  const known = indexOf(current);
  const next = current.slice();
  const removed = new Set<number>();
  let begins = 0;
  for (const entry of updates) {
    if (isRemoval(entry)) {
      if (entry.__remove__ === REMOVE_ALL_MESSAGES) {
        begins = next.length;
        continue;
      }
      const at = placeOf(next, known, entry.__remove__, begins);
      if (at === undefined || removed.has(at)) {
        throw new AgentmaticError(
          "InvalidArgument",
          `messages: there is no message with the id "${entry.__remove__}" to remove`,
        );
      }
      removed.add(at);
      continue;
    }
    const at = entry.id === undefined ? undefined : placeOf(next, known, entry.id, begins);
    if (at !== undefined) {
      next[at] = entry;
      removed.delete(at);
      continue;
    }
    if (entry.id !== undefined) known.set(entry.id, next.length);
    next.push(entry);
  }
  if (removed.size === 0 && begins === 0) {
    places.set(next, known);
    return next;
  }
  return next.filter((_message, index) => index >= begins && !removed.has(index));
}

function indexOf<Message extends WithId>(list: readonly Message[]): Map<string, number> {
  const shared = places.get(list);
  if (shared) return shared;
  const made = new Map<string, number>();
  list.forEach(({ id }, index) => {
    if (id !== undefined) made.set(id, index);
  });
  return made;
}

function placeOf(
  list: readonly WithId[],
  known: ReadonlyMap<string, number>,
  id: string,
  begins: number,
): number | undefined {
  const at = known.get(id);
  if (at === undefined) return undefined;
  if (list[at]?.id === id) return at < begins ? undefined : at;
  // Another list that grew out of the same one has put this id elsewhere.
  const own = list.findLastIndex((message) => message.id === id);
  return own < begins ? undefined : own;
}

/** A channel of messages of any shape that may have an id. */
export function messagesChannel<Message extends WithId>(): Channel<readonly Message[], MessagesOf<Message>> {
  return Annotation<readonly Message[], MessagesOf<Message>>({ reducer: messagesReducer, default: () => [] });
}
