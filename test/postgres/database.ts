/** Databases on the server that run.ts has started. */
import { readFile } from 'node:fs/promises'
import pg from 'pg'

/** A database of a test's own, gone afterwards. */
export interface TestDatabase extends AsyncDisposable {
  /** What a CA is told of it, but for the passphrase. */
  readonly ledger: {
    readonly kind: 'postgres'
    readonly url: string
    readonly password: { readonly file: string }
    readonly caFile: string
  }
  readonly password: string
  readonly name: string
  /** Asks it what no CA is asked. */
  readonly query: (sql: string) => Promise<readonly Readonly<Record<string, unknown>>[]>
}

/** A new one; with `template`, as that one is, which nobody uses meanwhile. */
export async function newDatabase(template = 'template1'): Promise<TestDatabase> {
  const server = process.env['REDOUBT_TEST_POSTGRES'] ?? ''
  const passwordFile = process.env['REDOUBT_TEST_POSTGRES_PASSWORD'] ?? ''
  const caFile = process.env['REDOUBT_TEST_POSTGRES_CA'] ?? ''
  const name = `ledger_${Math.random().toString(36).slice(2)}`
  const password = (await readFile(passwordFile, 'utf8')).trim()
  const ssl = { ca: await readFile(caFile, 'utf8') }
  const { hostname: host, port, username: user } = new URL(server)
  const clientOf = (database: string) =>
    new pg.Client({ host, port: Number(port), user, password, database, ssl })
  const admin = clientOf('postgres')
  await admin.connect()
  await admin.query(`CREATE DATABASE ${name} TEMPLATE ${template}`)
  return {
    ledger: {
      kind: 'postgres',
      url: server.replace(/\/postgres$/, `/${name}`),
      password: { file: passwordFile },
      caFile,
    },
    name,
    password,
    async query(sql) {
      const client = clientOf(name)
      await client.connect()
      try {
        return (await client.query(sql)).rows
      } finally {
        await client.end()
      }
    },
    async [Symbol.asyncDispose]() {
      await admin.query(`DROP DATABASE ${name} WITH (FORCE)`)
      await admin.end()
    },
  }
}
