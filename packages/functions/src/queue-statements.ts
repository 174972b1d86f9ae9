// The queue's statements, each prepared once. What they mean is in queue.ts, the tables are in queue-schema.ts.

import type { DatabaseSync, StatementSync } from "node:sqlite";

/** Everything the queue says to SQLite, prepared once. */
export type Statements = ReturnType<typeof statements>;

export function statements(db: DatabaseSync) {
  const sql = (text: string): StatementSync => db.prepare(text);
  return {
    release: sql("UPDATE delivery SET visible_at = 0 WHERE visible_at <> 0 AND dead_at IS NULL"),
    totalBytes: sql(
      `SELECT COALESCE(SUM(LENGTH(bytes)), 0) AS bytes FROM body
       WHERE id IN (SELECT body FROM delivery WHERE dead_at IS NULL)`,
    ),
    putBody: sql("INSERT INTO body (database, bytes, received_at) VALUES (?, ?, ?)"),
    putStaged: sql("INSERT INTO staged (body, digest) VALUES (?, ?)"),
    putDelivery: sql(
      "INSERT INTO delivery (body, database, size, lane, visible_at, dead_at, error) VALUES (?, ?, ?, ?, ?, ?, ?)",
    ),
    next: sql(
      `SELECT id, body, database, size, receives FROM delivery
       WHERE lane = ?1 AND dead_at IS NULL AND (visible_at <= ?2 OR visible_at > ?2 + ?3) ORDER BY id LIMIT ?4`,
    ),
    body: sql("SELECT bytes, received_at FROM body WHERE id = ?"),
    take: sql("UPDATE delivery SET visible_at = ?, receives = receives + 1 WHERE id = ?"),
    extend: sql("UPDATE delivery SET visible_at = ? WHERE id = ? AND dead_at IS NULL"),
    nextVisible: sql("SELECT MIN(visible_at) AS at FROM delivery WHERE lane = ? AND dead_at IS NULL"),
    one: sql("SELECT id, body, database, size FROM delivery WHERE id = ? AND dead_at IS NULL"),
    retry: sql("UPDATE delivery SET visible_at = ?, error = ? WHERE id = ?"),
    bury: sql("UPDATE delivery SET dead_at = ?, error = ? WHERE id = ?"),
    revive: sql(
      "UPDATE delivery SET dead_at = NULL, visible_at = 0, receives = 0, error = NULL WHERE id = ? AND dead_at IS NOT NULL",
    ),
    drop: sql("DELETE FROM delivery WHERE id = ?"),
    dead: sql("SELECT body, size FROM delivery WHERE id = ? AND dead_at IS NOT NULL"),
    isWaiting: sql("SELECT 1 FROM delivery WHERE body = ? AND dead_at IS NULL LIMIT 1"),
    isLastOf: sql("SELECT 1 FROM delivery WHERE body = ? LIMIT 1"),
    dropStaged: sql("DELETE FROM staged WHERE body = ?"),
    dropBody: sql("DELETE FROM body WHERE id = ?"),
    isStaged: sql("SELECT 1 FROM staged WHERE digest = ? LIMIT 1"),
    depths: sql(
      `SELECT lane, database, SUM(dead_at IS NULL) AS messages, SUM(IIF(dead_at IS NULL, size, 0)) AS bytes,
              SUM(dead_at IS NOT NULL) AS dead, MIN(IIF(dead_at IS NULL, body, NULL)) AS oldest
       FROM delivery GROUP BY lane, database`,
    ),
    deadLetters: sql(
      `SELECT id, lane, database, size, dead_at AS deadAtMs, error FROM delivery
       WHERE dead_at IS NOT NULL ORDER BY id LIMIT 1000`,
    ),
    expired: sql(
      `SELECT d.id, d.body, d.size, d.dead_at IS NULL AS waited FROM delivery d JOIN body b ON b.id = d.body
       WHERE COALESCE(d.dead_at, b.received_at) < ?`,
    ),
    setNote: sql(
      "INSERT INTO note (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    ),
    notes: sql("SELECT name, value FROM note WHERE SUBSTR(name, 1, ?) = ? ORDER BY name"),
  };
}
