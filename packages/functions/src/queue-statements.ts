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
      `INSERT INTO delivery (body, database, size, lane, visible_at, dead_at, error, elsewhere, staged, since)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    next: sql(
      `SELECT id, body, database, size, receives FROM delivery
       WHERE lane = ?1 AND dead_at IS NULL AND (visible_at <= ?2 OR visible_at > ?2 + ?3) ORDER BY id LIMIT ?4`,
    ),
    body: sql("SELECT bytes, received_at FROM body WHERE id = ?"),
    take: sql("UPDATE delivery SET visible_at = ?, receives = receives + 1 WHERE id = ?"),
    extend: sql("UPDATE delivery SET visible_at = ? WHERE id = ? AND dead_at IS NULL"),
    nextVisible: sql("SELECT MIN(visible_at) AS at FROM delivery WHERE lane = ? AND dead_at IS NULL"),
    one: sql(
      "SELECT id, body, database, size, lane, staged, since FROM delivery WHERE id = ? AND dead_at IS NULL",
    ),
    retry: sql("UPDATE delivery SET visible_at = ?, error = ? WHERE id = ?"),
    bury: sql("UPDATE delivery SET dead_at = ?, error = ?, since = ? WHERE id = ?"),
    revive: sql(
      `UPDATE delivery SET dead_at = NULL, visible_at = 0, receives = 0, error = NULL, since = ?
       WHERE id = ? AND dead_at IS NOT NULL`,
    ),
    drop: sql("DELETE FROM delivery WHERE id = ?"),
    isElsewhere: sql("UPDATE delivery SET elsewhere = 1 WHERE body = ? AND elsewhere = 0"),
    spare: sql(
      `SELECT id, body, database, size, lane, staged, since FROM delivery
       WHERE lane = ? AND elsewhere = 1 AND dead_at IS NULL AND staged >= ? ORDER BY id LIMIT ?`,
    ),
    dead: sql(
      "SELECT id, body, database, size, lane, staged, since FROM delivery WHERE id = ? AND dead_at IS NOT NULL",
    ),
    deadIn: sql(
      `SELECT id FROM delivery WHERE lane = ?1 AND dead_at IS NOT NULL AND (?2 IS NULL OR database = ?2)
       ORDER BY dead_at, id LIMIT ?3`,
    ),
    spareDead: sql(
      `SELECT id, body, database, size, lane, staged, since FROM delivery
       WHERE lane = ? AND elsewhere = 1 AND dead_at IS NOT NULL ORDER BY dead_at, id LIMIT ?`,
    ),
    isWaiting: sql("SELECT 1 FROM delivery WHERE body = ? AND dead_at IS NULL LIMIT 1"),
    isLastOf: sql("SELECT 1 FROM delivery WHERE body = ? LIMIT 1"),
    dropStaged: sql("DELETE FROM staged WHERE body = ?"),
    dropBody: sql("DELETE FROM body WHERE id = ?"),
    isStaged: sql("SELECT 1 FROM staged WHERE digest = ? LIMIT 1"),
    loads: sql(
      `SELECT lane, database, SUM(dead_at IS NULL) AS messages, SUM(IIF(dead_at IS NULL, size, 0)) AS bytes,
              SUM(IIF(dead_at IS NULL, staged, 0)) AS staged, SUM(dead_at IS NOT NULL) AS dead
       FROM delivery GROUP BY lane, database`,
    ),
    oldestOf: sql(
      `SELECT received_at AS at FROM body WHERE id = (
         SELECT body FROM delivery WHERE lane = ? AND database = ? AND dead_at IS NULL ORDER BY id LIMIT 1)`,
    ),
    deadLetters: sql(
      `SELECT id, lane, database, size, dead_at AS deadAtMs, error FROM delivery
       WHERE dead_at IS NOT NULL ORDER BY id LIMIT 1000`,
    ),
    oldest: sql(
      `SELECT d.id, d.body, d.database, d.size, d.lane, d.staged, d.since, d.elsewhere, b.received_at AS at
       FROM delivery d JOIN body b ON b.id = d.body
       WHERE d.lane = ? AND d.dead_at IS NULL ORDER BY d.id LIMIT ?`,
    ),
    longestDead: sql(
      `SELECT id, body, database, size, lane, staged, since, dead_at AS at FROM delivery
       WHERE lane = ? AND dead_at < ? ORDER BY dead_at LIMIT ?`,
    ),
    setNote: sql(
      "INSERT INTO note (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    ),
    note: sql("SELECT value FROM note WHERE name = ?"),
    dropNote: sql("DELETE FROM note WHERE name = ?"),
    dropNoteIf: sql("DELETE FROM note WHERE name = ? AND value = ?"),
    notes: sql("SELECT name, value FROM note WHERE SUBSTR(name, 1, ?) = ? ORDER BY name"),
  };
}
