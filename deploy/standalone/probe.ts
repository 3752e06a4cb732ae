/** Whether an app is ready, asked from outside as a client would. */
import { get } from 'node:http'
import { connect } from 'node:net'

import type { Clock } from '#core/clock.ts'
import type { Workload } from '#policy/index.ts'
import { parseAddress } from './address.ts'

/** Milliseconds for one answer. */
const ANSWER_MS = 1000

/** Milliseconds between questions. */
const PAUSE_MS = 50

/**
 * Asks until the app is ready or `signal` aborts, in which case it rejects.
 *
 * @param ready - Left out: ready when its first port accepts a connection.
 * @param addresses - `host:port` by workload port.
 */
export async function untilReady(
  ready: Workload['ready'],
  addresses: Readonly<Record<string, string>>,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const address = ready ? addresses[ready.port] : Object.values(addresses)[0]
  if (address === undefined) return
  while (!(await isReady(ready, address))) await clock.sleep(PAUSE_MS, signal)
}

/** One question. */
export async function isReady(ready: Workload['ready'], address: string): Promise<boolean> {
  return ready?.kind === 'http' ? answersHttp(address, ready.path) : accepts(address)
}

function answersHttp(address: string, path: string): Promise<boolean> {
  const { host, port } = parseAddress(address)
  return new Promise((resolve) => {
    const request = get({ host, port, path, agent: false, timeout: ANSWER_MS }, (response) => {
      response.resume()
      const { statusCode = 500 } = response
      resolve(statusCode >= 200 && statusCode < 400)
    })
    request.on('timeout', () => request.destroy())
    request.on('error', () => resolve(false))
  })
}

function accepts(address: string): Promise<boolean> {
  const { host, port } = parseAddress(address)
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: ANSWER_MS })
    const end = (answer: boolean): void => {
      socket.destroy()
      resolve(answer)
    }
    socket.on('connect', () => end(true))
    socket.on('timeout', () => end(false))
    socket.on('error', () => end(false))
  })
}
