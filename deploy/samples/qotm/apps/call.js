/** How the sample's apps call a service: plain HTTP to their own sidecar, the service's name as Host. */
import { Agent, request } from 'node:http'

const agent = new Agent({ keepAlive: true, maxSockets: 64 })
const outbound = new URL(
  /^\w+:\/\//.test(process.env.REDOUBT_OUTBOUND ?? '')
    ? (process.env.REDOUBT_OUTBOUND ?? '')
    : `http://${process.env.REDOUBT_OUTBOUND}`,
)

/** Trace headers that an app hands on, so that the sidecars' spans join up. */
export const TRACE_HEADERS = ['traceparent', 'tracestate', 'x-request-id']

/**
 * One attempt, never repeated: retrying is the sidecar's business.
 *
 * @param {string} service
 * @param {string} path
 * @param {Record<string, string | string[] | undefined>} [headers]
 * @returns {Promise<{ status: number, body: string }>}
 */
export function call(service, path, headers = {}) {
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        agent,
        host: outbound.hostname,
        port: outbound.port,
        path,
        headers: { ...headers, host: service },
        timeout: 10_000,
      },
      (response) => {
        let body = ''
        response.setEncoding('utf8')
        response.on('data', (text) => {
          body += text
        })
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body }))
        response.on('error', reject)
      },
    )
    sent.on('timeout', () => sent.destroy(new Error('no answer in 10 s')))
    sent.on('error', reject)
    sent.end()
  })
}
