/** An Envoy of a test's own: ready, or a failure that says what Envoy said. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePorts } from '../scenario/free-ports.ts'

/** Times that it is begun: ports that were free a moment ago may be somebody else's by then. */
const STARTS = 4

/** How long one start may take, in tenths of a second. */
const PATIENCE = 300

export interface RunningEnvoy extends AsyncDisposable {
  /** The ports of 127.0.0.1 that its configuration was made with, in that order. */
  readonly ports: readonly number[]
}

/**
 * Envoy with the configuration that `configOf` makes of its admin port and `count` others.
 * It takes no part in hot restarts, whose socket and memory all Envoys of a machine share:
 * with them a second one does not start.
 *
 * @throws Error with the end of what Envoy printed, when no start made it ready
 */
export async function startEnvoy(
  program: string,
  dir: string,
  count: number,
  configOf: (admin: number, ports: readonly number[]) => object,
): Promise<RunningEnvoy> {
  const said: string[] = []
  for (let start = 0; start < STARTS; start += 1) {
    const [admin = 0, ...ports] = await freePorts(count + 1)
    const file = join(dir, `envoy.${start}.json`)
    await writeFile(file, JSON.stringify(configOf(admin, ports)))
    const args = ['-c', file, '--concurrency', '1', '--log-level', 'error', '--disable-hot-restart']
    const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] })
    let printed = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      printed = `${printed}${text}`.slice(-2000)
    })
    const exited = once(child, 'exit')
    if (await becomesReady(child, admin)) {
      return {
        ports,
        async [Symbol.asyncDispose]() {
          child.kill()
          await exited
        },
      }
    }
    child.kill('SIGKILL')
    const [code] = await exited
    said.push(`exit code ${code}: ${printed.trim()}`)
  }
  throw new Error(`Envoy was not ready in ${STARTS} starts:\n${said.join('\n')}`)
}

async function becomesReady(child: ChildProcess, admin: number): Promise<boolean> {
  for (let tries = 0; tries < PATIENCE && child.exitCode === null; tries += 1) {
    if (await isReady(admin)) return true
    await sleep(100)
  }
  return false
}

function isReady(admin: number): Promise<boolean> {
  return new Promise((resolve) => {
    request({ host: '127.0.0.1', port: admin, path: '/ready' }, (response) => {
      response.resume()
      resolve(response.statusCode === 200)
    })
      .on('error', () => resolve(false))
      .end()
  })
}
