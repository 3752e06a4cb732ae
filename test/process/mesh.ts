/** Real meshes for tests: `redoubt up` as a process of its own, and what it leaves behind. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

import type { MeshEvent } from '#deploy/standalone/event.ts'
import type { ReadyLine, ReadyWorkload } from '#deploy/standalone/ready-line.ts'

export const LAUNCHER: string = join(import.meta.dirname, '../../deploy/cli/redoubt.js')

/** A `redoubt` that runs, or has run. */
export interface Redoubt {
  readonly child: ChildProcess
  /** Its standard output so far. */
  readonly out: readonly string[]
  readonly err: () => string
  /** Exit code, or the signal that ended it. */
  readonly exited: Promise<number | string>
  /** In the environment of every process that comes of it, the guard left out. */
  readonly mark: string
}

export interface RedoubtOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** Instead of this Node and the launcher. */
  readonly command?: readonly [string, ...string[]]
}

/** Starts `redoubt` with `args`. */
export function startRedoubt(args: readonly string[], options: RedoubtOptions = {}): Redoubt {
  const mark = `mark-${randomUUID()}`
  const [program, ...before] = options.command ?? [process.execPath, LAUNCHER]
  const child = spawn(program, [...before, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: options.cwd ?? process.cwd(),
    env: { ...process.env, NO_COLOR: '1', ...options.env, MESH_TEST_MARK: mark },
  })
  const out: string[] = []
  let err = ''
  createInterface({ input: child.stdout }).on('line', (line) => out.push(line))
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text
  })
  const exited = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | string)
  return { child, out, err: () => err, exited, mark }
}

/** A mesh that is ready. */
export interface TestMesh extends Redoubt, AsyncDisposable {
  readonly ready: ReadyLine
  readonly readyMs: number
  readonly events: () => readonly MeshEvent[]
  readonly workload: (name: string) => ReadyWorkload
  /** Waits for an event that comes after the first `from` ones. */
  readonly event: (
    matches: (event: MeshEvent) => boolean,
    options: { readonly from: number },
  ) => Promise<MeshEvent>
}

/** Starts `redoubt up` and waits for its ready line. Disposing kills what is left. */
export async function startMesh(
  args: readonly string[],
  options: RedoubtOptions = {},
): Promise<TestMesh> {
  const startedMs = performance.now()
  const redoubt = startRedoubt(['up', '--output', 'json', ...args], options)
  const early = redoubt.exited.then((code) => {
    throw new Error(`redoubt up ended with ${code} before it was ready: ${redoubt.err()}`)
  })
  early.catch(() => {})
  const first = await Promise.race([until(() => redoubt.out[0]), early])
  const ready = JSON.parse(first) as ReadyLine
  const readyMs = performance.now() - startedMs
  const events = (): MeshEvent[] => redoubt.out.slice(1).map((line) => JSON.parse(line))
  return {
    ...redoubt,
    ready,
    readyMs,
    events,
    workload(name) {
      const found = ready.workloads.find((one) => one.name === name)
      if (!found) throw new Error(`the mesh has no workload ${name}`)
      return found
    },
    event: (matches, { from }) => until(() => events().slice(from).find(matches)),
    async [Symbol.asyncDispose]() {
      if (redoubt.child.exitCode === null && redoubt.child.signalCode === null) {
        redoubt.child.kill('SIGTERM')
        const late = setTimeout(() => redoubt.child.kill('SIGKILL'), PATIENCE_MS / 2)
        await redoubt.exited
        clearTimeout(late)
      }
    },
  }
}

/** For what would never come: however slow the machine, all that does come is there by then. */
const PATIENCE_MS = 60_000

/** Asks until there is an answer. How long it took is another question (`#test/fakes/slowness.ts`). */
export async function until<T>(ask: () => T | undefined | Promise<T | undefined>): Promise<T> {
  const endMs = performance.now() + PATIENCE_MS
  for (;;) {
    const answer = await ask()
    if (answer !== undefined) return answer
    if (performance.now() > endMs) throw new Error(`waited ${PATIENCE_MS} ms in vain: ${ask}`)
    await sleep(10)
  }
}

/** Processes that carry `mark` in their environment, and guards of `supervisor`; `[pid, command line]`. */
export async function processesOf(
  mark: string,
  supervisor: number | undefined,
): Promise<readonly (readonly [number, string])[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const found = await Promise.all(
    pids.map(async (pid) => {
      const read = (name: string) => readFile(`/proc/${pid}/${name}`, 'utf8').catch(() => '')
      const [environ, cmdline] = [await read('environ'), await read('cmdline')]
      const isGuard = cmdline.includes(`redoubt-guard\0${supervisor}\0`)
      return environ.includes(mark) || isGuard
        ? [[Number(pid), cmdline.replaceAll('\0', ' ').slice(0, 200)] as const]
        : []
    }),
  )
  return found.flat()
}

/** A directory that is gone afterwards. */
export async function temporary(): Promise<{ readonly path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'redoubt-'))
  return {
    path,
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true, maxRetries: 5 }),
  }
}

export interface Answer {
  readonly status: number
  readonly body: string
}

export interface Asked {
  readonly method?: string
  readonly path?: string
  readonly headers?: Readonly<Record<string, string>>
}

/** One request to `host:port`; rejects if there is no answer. */
export function ask(
  address: string,
  { method = 'GET', path = '/', headers = {} }: Asked = {},
): Promise<Answer> {
  const at = address.lastIndexOf(':')
  return new Promise<Answer>((resolve, reject) => {
    const sent = request(
      {
        host: address.slice(0, at),
        port: address.slice(at + 1),
        method,
        path,
        headers,
        agent: false,
        timeout: PATIENCE_MS / 2,
      },
      (response) => {
        let body = ''
        response.setEncoding('utf8')
        response.on('data', (text: string) => {
          body += text
        })
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body }))
        response.on('error', reject)
      },
    )
    sent.on('timeout', () => sent.destroy(new Error('no answer in half a minute')))
    sent.on('error', reject)
    sent.end()
  })
}
