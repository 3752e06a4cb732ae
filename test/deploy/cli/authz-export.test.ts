import test from 'ava'

import { authzExport } from '#deploy/cli/commands/authz-export.ts'
import { MODELS } from '#policy/casbin/index.ts'
import { runCommand } from '#test/fakes/fake-io.ts'

const cwd = process.cwd()
const run = (options: object) =>
  runCommand(authzExport, { cwd, options: { file: ['deploy/samples/qotm'], ...options } })

test('authz export prints models, and lines by chain in the order in which they are asked', async (t) => {
  const { exitCode, out } = await run({ to: 'qotm/qotm-v1', output: 'json' })
  t.is(exitCode, 0)
  const { models, chains, ...rest } = JSON.parse(out)
  t.deepEqual(rest, {
    workload: 'qotm/qotm-v1',
    trustDomains: ['cluster.local'],
    pathNormalization: 'BASE',
    ports: [{ port: 8080, protocol: 'http', mtls: 'STRICT' }],
    format: 1,
  })
  t.deepEqual(models, MODELS)
  t.deepEqual(chains.http, [
    {
      action: 'DENY',
      use: 'enforce',
      policies: ['qotm/deny-intruder'],
      lines: [
        [
          'qotm/deny-intruder',
          '0',
          '{"principals":["cluster.local/ns/qotm/sa/intruder"]}',
          '*',
          '*',
        ],
      ],
    },
    {
      action: 'ALLOW',
      use: 'enforce',
      policies: ['qotm/allow-edge', 'qotm/allow-nothing'],
      lines: [
        [
          'qotm/allow-edge',
          '0',
          '{"principals":["cluster.local/ns/qotm/sa/edge"]}',
          '[{"methods":["GET"],"paths":["/quote","/quote/*"]}]',
          '*',
        ],
      ],
    },
  ])
  t.deepEqual(chains.tcp[1].lines, [], 'an ALLOW rule on HTTP is none on TCP (§1.8)')
})

test('authz export tells people the model, and each line as Casbin’s policy files have it', async (t) => {
  const { out } = await run({ to: 'qotm/quotes-db' })
  t.true(out.startsWith('# qotm/quotes-db: mTLS 8080 STRICT; paths are read by BASE\n'), out)
  t.true(
    out.includes(`# http: ALLOW, enforce: qotm/allow-nothing, qotm/allow-qotm
p, qotm/allow-qotm, 0, "{""principals"":[""cluster.local/ns/qotm/sa/qotm""]}", "[{""methods"":[""GET""],""paths"":[""/quotes/*""]}]", *`),
    out,
  )
})

test('authz export refuses a workload that is not there', async (t) => {
  await t.throwsAsync(run({ to: 'qotm/nobody' }), { message: /^Cannot export qotm\/nobody: / })
})
