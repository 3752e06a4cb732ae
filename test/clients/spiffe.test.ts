/** Unmodified SPIFFE clients of others on the agent's socket, in real time and identified by the kernel. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { openSvid } from '#agent/client/index.ts'
import { verifyJwtSvid } from '#ca/jwt/index.ts'
import { derFromPem, pemFromDer, verifySvid } from '#ca/x509/index.ts'
import { realClock, trustDomain, workloadId } from '#test/ca/harness.ts'
import { outputOf, realAgent, testWith } from './harness.ts'

testWith(
  'REDOUBT_GOSPIFFE',
  'go-spiffe watches 3 rotations and verifies each',
  async (t, program) => {
    await using running = await realAgent('PT4S')
    const address = `unix://${running.agent.socketPath}`
    const output = await outputOf(program, [address, 'watch', '3'])
    t.is(new Set(output.match(/^serial: .+$/gm)).size, 4)
    t.notRegex(output, /watch error/)
    t.regex(output, /^PASS$/m)
  },
)

testWith(
  'REDOUBT_GOSPIFFE',
  'go-spiffe makes mTLS and refuses another identity',
  async (t, program) => {
    await using running = await realAgent('PT1H')
    const address = `unix://${running.agent.socketPath}`
    const output = await outputOf(program, [address, 'mtls', workloadId])
    t.regex(output, /^greeting: hello$/m)
    t.regex(output, /^other id refused: true$/m)
    t.regex(output, /^PASS$/m)
  },
)

testWith(
  'REDOUBT_GOSPIFFE',
  'go-spiffe fetches a JWT-SVID and validates it here and there',
  async (t, program) => {
    await using running = await realAgent('PT1H')
    const output = await outputOf(program, [`unix://${running.agent.socketPath}`, 'jwt'])
    t.regex(output, new RegExp(`^subject: ${workloadId}$`, 'm'))
    t.regex(output, new RegExp(`^judged: ${workloadId}$`, 'm'))
    t.regex(output, /^other audience refused: true$/m)
    t.regex(output, /^PASS$/m)
  },
)

testWith(
  'REDOUBT_PYSPIFFE',
  'spiffe of PyPI takes X.509 and JWT-SVIDs and their bundles',
  async (t, python) => {
    await using running = await realAgent('PT1H')
    const script = join(import.meta.dirname, 'workload.py')
    const address = `unix://${running.agent.socketPath}`
    const output = await outputOf(python, [script, address, workloadId])
    t.regex(output, /^other audience refused: /m)
    t.regex(output, /^PASS$/m)
  },
)

testWith(
  'REDOUBT_SPIFFE_HELPER',
  'spiffe-helper keeps certificate, key, bundle and token on the disk',
  async (t, program) => {
    await using running = await realAgent('PT4S')
    const { agent, ca, dir } = running
    const config = join(dir, 'helper.conf')
    await writeFile(
      config,
      `agent_address = "${agent.socketPath}"
     cert_dir = "${dir}"
     svid_file_name = "svid.pem"
     svid_key_file_name = "key.pem"
     svid_bundle_file_name = "bundle.pem"
     jwt_bundle_file_name = "jwks.json"
     jwt_svids = [{ jwt_audience = "db", jwt_svid_file_name = "token" }]
     daemon_mode = true`,
    )
    const child = spawn(program, ['-config', config], { stdio: 'ignore' })
    const exited = once(child, 'exit')
    const read = (name: string) => readFile(join(dir, name), 'utf8').catch(() => '')
    try {
      const serials = new Set<string>()
      for (let tries = 0; tries < 300 && serials.size < 3; tries += 1) {
        await sleep(50)
        const pem = await read('svid.pem')
        if (!pem.endsWith('-----END CERTIFICATE-----\n')) continue
        const now = Temporal.Now.instant()
        const chain = derFromPem('CERTIFICATE', pem)
        const verdict = verifySvid(chain, [ca.bundle.current], now, 'client')
        if (verdict.kind !== 'ok') return t.fail(JSON.stringify(verdict))
        t.is(verdict.id, workloadId)
        serials.add(verdict.serial)
      }
      t.is(serials.size, 3, 'the first certificate and two that replaced it')
      t.regex(await read('key.pem'), /^-----BEGIN PRIVATE KEY-----/)
      t.is(await read('bundle.pem'), pemFromDer('CERTIFICATE', ca.bundle.current.roots))
      const jwks = JSON.parse(await read('jwks.json')) as Record<string, unknown>
      t.deepEqual(Object.keys(jwks), [trustDomain])
      const { jwtKeys = [] } = ca.bundle.current
      const token = (await read('token')).trim()
      const judged = verifyJwtSvid(token, [{ trustDomain, jwtKeys }], 'db', Temporal.Now.instant())
      t.is(judged.kind, 'ok')
    } finally {
      child.kill()
      await exited
    }
  },
)

testWith(
  'REDOUBT_ISTIO_CA_CLIENT',
  'Istio’s CA client knows the CA by its DNS name, and renews with the certificate that it has',
  async (t, program) => {
    await using running = await realAgent('PT2H')
    const { agent, ca, dir } = running
    const ending = new AbortController()
    const svid = await openSvid(
      {
        socketPath: agent.socketPath,
        clock: realClock,
        now: () => Temporal.Now.instant(),
        random: Math.random,
        log: () => {},
      },
      ending.signal,
    )
    ending.abort()
    const [roots, chain, key] = ['roots.pem', 'chain.pem', 'key.pem'].map((name) => join(dir, name))
    await writeFile(roots ?? '', pemFromDer('CERTIFICATE', ca.bundle.current.roots))
    await writeFile(chain ?? '', svid.current.chainPem)
    await writeFile(key ?? '', svid.current.keyPem)
    const output = await outputOf(program, [ca.address, roots ?? '', chain ?? '', key ?? ''])
    t.regex(output, /^elements: 3$/m)
    t.regex(output, new RegExp(`^name: ${workloadId}$`, 'm'))
    t.regex(output, /^PASS$/m)

    const named = [ca.address, roots ?? '', chain ?? '', key ?? '', 'istiod.istio-system.svc']
    t.regex(await outputOf(program, named), /^PASS$/m)
    const misnamed = await t.throwsAsync(outputOf(program, named.with(-1, 'istiod.other.svc')))
    t.regex(misnamed.message, /certificate is valid for istiod\.istio-system\.svc, not/)

    const stranger = await t.throwsAsync(outputOf(program, [ca.address, roots ?? '']))
    t.regex(stranger.message, /code: Unauthenticated\n/)
    t.regex(stranger.message, /request authenticate failure/)
  },
)
