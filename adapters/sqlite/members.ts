/** Live processes that say so: coordinators and peers. */
import { type Member, membersMax } from "../../src/run/store.ts";
import type { Session } from "./connection.ts";

export function beat(session: Session, member: string): number {
  const before = session.sql<{ beat: number }>(`SELECT beat FROM agentmatic_members WHERE member = ?`).get(member);
  const next = (before?.beat ?? 0) + 1;
  remove(session, member);
  session
    .sql(
      `INSERT INTO agentmatic_members (turn, member, beat)
      VALUES ((SELECT coalesce(max(turn), 0) + 1 FROM agentmatic_members), ?, ?)`,
    )
    .run(member, next);
  session
    .sql(
      `DELETE FROM agentmatic_members
      WHERE turn <= (SELECT turn FROM agentmatic_members ORDER BY turn DESC LIMIT 1 OFFSET ?)`,
    )
    .run(membersMax);
  return next;
}

export function list(session: Session): Member[] {
  return session
    .sql<{ member: string; beat: number }>(`SELECT member, beat FROM agentmatic_members ORDER BY turn`)
    .all()
    .map(({ member, beat }) => ({ id: member, beat }));
}

export function remove(session: Session, member: string): void {
  session.sql(`DELETE FROM agentmatic_members WHERE member = ?`).run(member);
}
