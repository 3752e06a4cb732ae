/** State that an older version of this program made: brought up to date whole, or refused and left as it was. */
import { hash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

import test from 'ava'

import { openLogState } from '#ca/index.ts'
import { openAuthority } from '#ca/open-authority.ts'
import { configIn, temporaryDir, workloadId } from '../harness.ts'
import { issueFrom } from '../issue-from.ts'

const now = () => Temporal.Instant.from('2026-06-01T12:00:00Z')

/** The tables of version 1, before there was a log, and `rows` of it. */
function versionOne(path: string, rows: number): void {
  const database = new DatabaseSync(path)
  database.exec(`
    CREATE TABLE certificates (
      serial TEXT PRIMARY KEY, kind TEXT NOT NULL, subject TEXT NOT NULL, issuer_serial TEXT NOT NULL,
      issued_at INTEGER NOT NULL, not_before INTEGER NOT NULL, not_after INTEGER NOT NULL,
      requested_by TEXT NOT NULL, der BLOB NOT NULL
    ) STRICT;
    CREATE TABLE join_tokens (
      token_sha256 TEXT PRIMARY KEY, agent_id TEXT NOT NULL, scope TEXT NOT NULL,
      expires_at INTEGER NOT NULL, used_at INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE agents (
      agent_id TEXT PRIMARY KEY, scope TEXT NOT NULL, attested_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE bundles (generation INTEGER PRIMARY KEY, digest TEXT NOT NULL) STRICT;
    INSERT INTO bundles VALUES (7, 'of an older bundle');
    PRAGMA user_version = 1; BEGIN`)
  const insert = database.prepare('INSERT INTO certificates VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)')
  for (let at = 0; at < rows; at += 1) {
    const der = Buffer.from(`certificate ${at}`)
    // Serials as they come: not in the order in which rows were added.
    const serial = hash('sha256', der, 'hex').slice(0, 32)
    insert.run(serial, 'leaf', workloadId, '02', at, at, 4e12, 'spiffe://prod.example/a', der)
  }
  database.exec('COMMIT')
  database.close()
}

test('the ledger of version 1 gets its log: every row in the order in which it was recorded, under a signed head', async (t) => {
  await using dir = await temporaryDir()
  versionOne(join(dir.path, 'ledger.db'), 600)
  {
    await using authority = await openAuthority(configIn(dir.path), now)
    t.is((await authority.transparency.head()).size, 602, 'and root and issuing CA of now')
    t.is(authority.bundle.current.generation, 8, 'generations go on')
    await issueFrom(authority, 5, now)
  }
  using log = await openLogState(dir.path)
  t.like(await log.audit(), { ok: true, certificates: 607, faultCount: 0 })
  const serial = hash('sha256', 'certificate 421', 'hex').slice(0, 32)
  t.is((await log.prove(serial))?.index, 421)
})

for (const [what, sql, message] of [
  [
    'of a newer version',
    'PRAGMA user_version = 99',
    /^[^\n]*version 99, expected at most \d+: a newer Redoubt made it[^\n]*$/,
  ],
  [
    'of another program',
    'CREATE TABLE songs (name TEXT)',
    /^[^\n]*the database of another program; choose[^\n]*$/,
  ],
  [
    'of version 1 whose rows contradict each other',
    `CREATE TABLE certificates (serial TEXT); PRAGMA user_version = 1`,
    /^[^\n]*no such column/,
  ],
] as const) {
  test(`a ledger ${what} is refused in one line, with not a byte changed`, async (t) => {
    await using dir = await temporaryDir()
    const path = join(dir.path, 'ledger.db')
    const database = new DatabaseSync(path)
    database.exec(sql)
    database.close()
    const before = await readFile(path)
    await t.throwsAsync(openAuthority(configIn(dir.path), now), {
      code: 'CA_STATE_UNUSABLE',
      message,
    })
    t.deepEqual(await readFile(path), before)
  })
}

test('an audit of older state changes nothing, and says what brings it up to date', async (t) => {
  await using dir = await temporaryDir()
  {
    await using authority = await openAuthority(configIn(dir.path), now)
    await issueFrom(authority, 1, now)
  }
  const path = join(dir.path, 'ledger.db')
  const database = new DatabaseSync(path)
  database.exec('PRAGMA user_version = 2')
  database.close()
  const before = await readFile(path)
  await t.throwsAsync(openLogState(dir.path), {
    message: /it has version 2, expected \d+; starting a CA on it brings it up to date$/,
  })
  t.deepEqual(await readFile(path), before)
})
