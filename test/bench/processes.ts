/** Starting and stopping what a benchmark runs. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { connect, createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export interface Running extends AsyncDisposable {
  readonly child: ChildProcess
  readonly pid: number
}

/** Starts `command`; its output goes to `logPath`. Disposing ends it with SIGTERM, then SIGKILL after 5 s. */
export function start(command: readonly string[], logPath: string): Running {
  const [program = '', ...args] = command
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] })
  const log = createWriteStream(logPath)
  child.stdout?.pipe(log, { end: false })
  child.stderr?.pipe(log, { end: false })
  return {
    child,
    pid: child.pid ?? 0,
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) {
        const exited = once(child, 'exit')
        child.kill('SIGTERM')
        const timer = setTimeout(() => child.kill('SIGKILL'), 5000)
        await exited
        clearTimeout(timer)
      }
      log.end()
    },
  }
}

/** A loopback port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

/** Waits until `address` (`host:port`) accepts. @throws {Error} after 10 s */
export async function accepting(address: string): Promise<void> {
  const [host = '', port = ''] = address.split(':')
  for (let tries = 0; tries < 100; tries += 1) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect({ host, port: Number(port) })
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
      socket.once('connect', () => socket.destroy())
    })
    if (open) return
    await sleep(100)
  }
  throw new Error(`nothing accepts at ${address}`)
}
