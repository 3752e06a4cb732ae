/** An agent in real time for programs of others, and tests that are skipped, by name and reason, without their program. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { type Agent, createWorkloadRegistry, openAgent } from '#agent/index.ts'
import type { Ca } from '#ca/index.ts'
import type { SpiffeId } from '#ca/spiffe/index.ts'
import {
  agentId,
  newToken,
  realClock,
  startCa,
  temporaryDir,
  trustDomain,
  workloadId,
} from '#test/ca/harness.ts'
import { readProcess } from '../../agent/attest/process.ts'

/** A test that needs the program in the environment variable `variable`. */
export function testWith(
  variable: string,
  title: string,
  run: (t: ExecutionContext, program: string) => Promise<void>,
): void {
  const program = process.env[variable]
  const why =
    process.env[`${variable}_MISSING`] ?? `${variable} is not set; use npm run test:clients`
  if (program) test.serial(title, (t) => run(t, program))
  else test.skip(`${title} (SKIPPED: ${why})`, (t) => t.fail())
}

export interface RealAgent extends AsyncDisposable {
  readonly ca: Ca
  readonly agent: Agent
  /** Of its own; gone at the end. */
  readonly dir: string
}

/** An agent with a real clock, for which this process and what it starts are `id`. */
export async function realAgent(leafTtl: string, id: SpiffeId = workloadId): Promise<RealAgent> {
  await using opening = new AsyncDisposableStack()
  const leaf = Temporal.Duration.from(leafTtl)
  const { ca } = opening.use(
    await startCa({ leafTtl: leaf, serverNames: ['istiod.istio-system.svc'] }),
  )
  const dir = opening.use(await temporaryDir())
  const registry = createWorkloadRegistry({ clock: realClock })
  const self = readProcess(process.pid)
  registry.setWorkloads(self ? [{ ...self, spiffeId: id }] : [])
  const agent = opening.use(
    await openAgent(
      {
        trustDomain,
        agentId,
        caAddress: ca.address,
        socketPath: join(dir.path, 'agent.sock'),
        joinToken: await newToken(ca),
      },
      {
        clock: realClock,
        now: () => Temporal.Now.instant(),
        random: Math.random,
        log: () => {},
        caRoots: ca.bundle.current.roots,
        identify: registry.identify,
      },
    ),
  )
  const owned = opening.move()
  return { ca, agent, dir: dir.path, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

/** Milliseconds that a program gets. */
const TIMEOUT_MS = 90_000

/** What a program printed; if it fails, that and its error are in the message. `any` status: one that only counts. */
export async function outputOf(
  program: string,
  args: readonly string[],
  status: 'zero' | 'any' = 'zero',
): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(program, args, { timeout: TIMEOUT_MS })
    return stdout
  } catch (cause) {
    const { stdout = '', stderr = '' } = cause as { stdout?: string; stderr?: string }
    if (status === 'any' && stdout !== '' && stderr === '') return stdout
    throw new Error(`${program} failed: ${stdout}${stderr}`, { cause })
  }
}
