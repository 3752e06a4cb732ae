/** `Mesh.spec.certificateAuthority`: how many CAs there are, and the ledger that they share. */
import test from 'ava'

import { caAuthorityOf } from '#deploy/standalone/ca-settings.ts'
import { readManifests } from '#policy/index.ts'

const SHARED = `ledger:
      store: postgres
      url: postgres://redoubt@db.example:5432/ledger
      passphrase: { file: secrets/passphrase }`

function read(authority: string) {
  const text = `apiVersion: redoubt.io/v1alpha1
kind: Mesh
metadata: { name: mesh }
spec:
  certificateAuthority:
    ${authority}
`
  const { intent, documents } = readManifests([{ path: 'mesh.yaml', text }])
  const faults = documents.flatMap(({ errors }) => errors)
  return { intent, faults: faults.map(({ pointer, message }) => `${pointer}: ${message}`) }
}

const at = '/spec/certificateAuthority'

for (const [what, authority, fault] of [
  [
    'two CAs without a ledger that they share',
    'replicas: 2',
    `${at}/replicas: 2 CAs need a ledger that they share, expected ledger.store: postgres`,
  ],
  [
    'two CAs on SQLite',
    'replicas: 2\n    ledger: { store: sqlite }',
    `${at}/replicas: 2 CAs need a ledger that they share, expected ledger.store: postgres`,
  ],
  [
    'a password in the URL',
    SHARED.replace('redoubt@', 'redoubt:hunter2@'),
    `${at}/ledger/url: it has a password in it, expected password.file or password.env beside it`,
  ],
  [
    'a URL of something else',
    SHARED.replace('postgres://', 'mysql://'),
    `${at}/ledger/url: expected postgres://user@host:port/database`,
  ],
  [
    'a ledger in PostgreSQL without a passphrase',
    SHARED.replace(/\n *passphrase.*/, ''),
    `${at}/ledger: a store of postgres needs passphrase`,
  ],
  [
    'a URL of SQLite',
    'ledger: { store: sqlite, url: "postgres://db/ledger" }',
    `${at}/ledger/url: a store of sqlite has none`,
  ],
  [
    'keys in memory beside a ledger that is shared',
    `${SHARED}\n    keys: { store: memory }`,
    `${at}/keys/store: CAs with a ledger in postgres share their keys, expected files or pkcs11`,
  ],
  [
    'a second passphrase',
    `${SHARED}\n    keys: { store: files, passphrase: { env: REDOUBT_KEYS } }`,
    `${at}/keys/passphrase: keys are in the ledger, which ledger.passphrase encrypts`,
  ],
] as const) {
  test(`${what} is refused in one line by validate`, (t) => {
    const { faults } = read(authority)
    t.deepEqual(faults, [fault])
    t.false(faults.join().includes('hunter2'))
  })
}

test('no CA at all, half of one, and more than 16 are refused', (t) => {
  for (const replicas of [0, 1.5, 17]) {
    const { faults } = read(`replicas: ${replicas}\n    ${SHARED}`)
    t.is(faults.length, 1)
    t.true(faults[0]?.startsWith(`${at}/replicas: `), faults[0])
  }
})

test('the CAs are told of their ledger with absolute paths; one alone keeps SQLite', (t) => {
  const { intent, faults } = read(
    `replicas: 3\n    ${SHARED}\n      password: { env: REDOUBT_LEDGER }\n      caFile: db.pem`,
  )
  t.deepEqual(faults, [])
  t.like(caAuthorityOf(intent, '/mesh'), {
    replicas: 3,
    ledger: {
      kind: 'postgres',
      url: 'postgres://redoubt@db.example:5432/ledger',
      password: { env: 'REDOUBT_LEDGER' },
      passphrase: { file: '/mesh/secrets/passphrase' },
      caFile: '/mesh/db.pem',
    },
  })
  const alone = caAuthorityOf(read('ledger: { store: sqlite }').intent, '/mesh')
  t.is(alone.ledger, undefined)
  t.is(alone.replicas, undefined)
})
