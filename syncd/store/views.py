"""What the schema holds beside its tables: the member view, Postgres' storage."""

MEMBER_VIEW = {
    "sqlite": """
CREATE VIEW member AS
WITH stored AS (
  SELECT c.binding_id, j.value AS id
  FROM chunk c, json_each('["' || replace(replace(replace(
    c.ids, '\\', '\\\\'), '"', '\\"'), char(10), '","') || '"]') j
  WHERE c.n > 0 AND c.codec = 0
), logged AS (
  SELECT b.binding_id, j.value AS id, b.operation,
    row_number() OVER (PARTITION BY b.binding_id, j.value ORDER BY b.id DESC) AS nth
  FROM batch b JOIN batch_ids p ON p.batch_id = b.id, json_each('["' || replace(
    replace(replace(p.ids, '\\', '\\\\'), '"', '\\"'), char(10), '","') || '"]') j
  WHERE b.state = 'acknowledged' AND b.n > 0
), latest AS (SELECT * FROM logged WHERE nth = 1)
SELECT binding.sync, binding.external_id AS target_id, s.id AS member_id
FROM stored s JOIN binding ON binding.id = s.binding_id
WHERE NOT EXISTS (SELECT 1 FROM latest l
  WHERE l.binding_id = s.binding_id AND l.id = s.id)
UNION ALL
SELECT binding.sync, binding.external_id, l.id
FROM latest l JOIN binding ON binding.id = l.binding_id WHERE l.operation = 'add'
""",
    # One grouping and no join of members: a planner without statistics would compare
    # everybody with everybody (minutes for 200,000, measured on a new store). `said`
    # orders what was said about an id, chunk first; it is odd where it says "in".
    "postgresql": """
CREATE VIEW member AS
WITH said AS (
  SELECT c.binding_id, j.id, 1 AS said
  FROM chunk c, string_to_table(c.ids, E'\\n') AS j(id)
  WHERE c.n > 0 AND c.codec = 0
  UNION ALL
  SELECT b.binding_id, j.id, 2 * b.id + CASE b.operation WHEN 'add' THEN 1 ELSE 0 END
  FROM batch b JOIN batch_ids p ON p.batch_id = b.id,
    string_to_table(p.ids, E'\\n') AS j(id)
  WHERE b.state = 'acknowledged' AND b.n > 0
), inside AS (
  SELECT binding_id, id FROM said
  GROUP BY binding_id, id HAVING max(said) % 2 = 1
)
SELECT binding.sync, binding.external_id AS target_id, inside.id AS member_id
FROM inside JOIN binding ON binding.id = inside.binding_id
""",
}
"""The acknowledged members as plain SQL, exact: chunks, then the newest of the log.

Of the codec text: no SQL unpacks a chunk of zstd, and whoever is in one is missing
here. `syncd members` shows everybody.
"""

POSTGRES_STORAGE = (
    # Random ids do not compress: trying doubles the backend's CPU (measured).
    "ALTER TABLE chunk ALTER COLUMN ids SET STORAGE EXTERNAL",
    "ALTER TABLE batch_ids ALTER COLUMN ids SET STORAGE EXTERNAL",
    # A compaction rewrites many chunks; give the pages back early.
    "ALTER TABLE chunk SET (autovacuum_vacuum_scale_factor = 0.05)",
)
PACKED_STORAGE = "ALTER TABLE chunk ALTER COLUMN packed SET STORAGE EXTERNAL"
"""Of Postgres: what zstd packed does not compress."""
