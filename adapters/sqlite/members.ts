/** Live processes that say so: coordinators and peers. */
import { type Member, membersMax } from "../../src/run/store.ts";
import type { Session } from "./connection.ts";
import { deleteMember, deleteOldMembers, insertMember, selectBeat, selectMembers } from "./statements.ts";

export function beat(session: Session, member: string): number {
  const before = session.sql<{ beat: number }>(selectBeat).get(member);
  const next = (before?.beat ?? 0) + 1;
  remove(session, member);
  session.sql(insertMember).run(member, next);
  session.sql(deleteOldMembers).run(membersMax);
  return next;
}

export function list(session: Session): Member[] {
  return session
    .sql<{ member: string; beat: number }>(selectMembers)
    .all()
    .map(({ member, beat }) => ({ id: member, beat }));
}

export function remove(session: Session, member: string): void {
  session.sql(deleteMember).run(member);
}
