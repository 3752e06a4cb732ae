/** Lines of a CasbinPolicy in a real PostgreSQL, over TLS, by a user who may only read. */
import { readFileSync } from 'node:fs'
import test from 'ava'
import pg from 'pg'
import { readRows } from '../../policy/serve/read-rows.ts'

const url = process.env['REDOUBT_TEST_POSTGRES']
const run = url === undefined ? test.skip : test.serial

interface Database {
  readonly execute: (sql: string) => Promise<void>
  readonly source: Parameters<typeof readRows>[0]
  readonly ca: string
}

async function open(t: { readonly teardown: (end: () => unknown) => void }): Promise<Database> {
  const { hostname, port, username, pathname } = new URL(url ?? '')
  const secret = readFileSync(process.env['REDOUBT_TEST_POSTGRES_PASSWORD'] ?? '', 'utf8').trimEnd()
  const ca = readFileSync(process.env['REDOUBT_TEST_POSTGRES_CA'] ?? '', 'utf8')
  const database = pathname.slice(1)
  const owner = new pg.Client({
    host: hostname,
    port: Number(port),
    user: username,
    password: secret,
    database,
    ssl: { ca, host: hostname } as object,
  })
  await owner.connect()
  t.teardown(() => owner.end())
  const execute = async (sql: string): Promise<void> => void (await owner.query(sql))
  await execute('drop table if exists casbin_rule')
  await execute(
    `create table casbin_rule (id serial primary key, ptype varchar(255) not null,
       ${['v0', 'v1', 'v2', 'v3', 'v4', 'v5'].map((name) => `${name} varchar(255)`).join(', ')})`,
  )
  await execute(
    `do $$ begin if not exists (select from pg_roles where rolname = 'reader')
       then create role reader login password 'only-reads'; end if; end $$`,
  )
  await execute('grant select on casbin_rule to reader')
  const source = {
    kind: 'postgres',
    host: hostname,
    port: Number(port),
    database,
    user: 'reader',
    table: 'casbin_rule',
    tls: 'verify',
    refreshMs: 1000,
  } as const
  return { execute, source, ca }
}

run(
  'rows come in the order of their ids, as they are: commas, quotes and gaps included',
  async (t) => {
    const { execute, source, ca } = await open(t)
    await execute(
      `insert into casbin_rule (ptype, v0, v1, v2) values
       ('p', 'admin', '/a,b', 'GET'), ('p', 'x"y', '/c', 'GET'), ('g', 'ann', 'admin', null), ('p', 'a', null, 'GET')`,
    )
    await execute(`update casbin_rule set v2 = 'PUT' where v0 = 'admin' and ptype = 'p'`)
    t.deepEqual(await readRows(source, { password: 'only-reads', ca }), [
      ['p', 'admin', '/a,b', 'PUT'],
      ['p', 'x"y', '/c', 'GET'],
      ['g', 'ann', 'admin'],
      ['p', 'a', '', 'GET'],
    ])
  },
)

run('a table that is not there is an error, and is not made', async (t) => {
  const { source, ca } = await open(t)
  const missing = { ...source, table: 'nothing_here' }
  for (let times = 0; times < 2; times += 1) {
    await t.throwsAsync(readRows(missing, { password: 'only-reads', ca }), {
      message: /Cannot read table nothing_here .*does not exist/,
    })
  }
})

run(
  'a wrong password is an error that does not say it, and a server of somebody else gets none',
  async (t) => {
    const { source, ca } = await open(t)
    const wrong = await t.throwsAsync(readRows(source, { password: 'guessed-wrong', ca }))
    t.regex(wrong?.message ?? '', /authentication failed/)
    t.false(wrong?.message.includes('guessed-wrong'))
    await t.throwsAsync(readRows(source, { password: 'only-reads', ca: undefined }), {
      message: /self.signed|unable to verify/,
    })
    await t.throwsAsync(
      readRows({ ...source, host: 'localhost' }, { password: 'only-reads', ca }),
      {
        message: /altnames|Hostname/i,
      },
    )
  },
)

run(
  'more rows than a policy may have are told by one too many, and the rest is not read',
  async (t) => {
    const { execute, source, ca } = await open(t)
    await execute(
      `insert into casbin_rule (ptype, v0, v1, v2) select 'p', 'a' || n, '/x', 'GET' from generate_series(1, 10500) n`,
    )
    t.is((await readRows(source, { password: 'only-reads', ca })).length, 10_001)
  },
)
