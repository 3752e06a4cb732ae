/** The HTTP server of each sample app: JSON out, `/healthz`, an end on SIGTERM that finishes what it began. */
import { createServer } from 'node:http'

/**
 * @param {(request: import('node:http').IncomingMessage) => Promise<{ status: number, body: unknown }>} answer
 * @param {() => void} [onStop]
 */
export function serve(answer, onStop = () => {}) {
  const server = createServer(async (request, response) => {
    const { status, body } =
      request.url === '/healthz'
        ? { status: 200, body: { ok: true } }
        : await answer(request).catch((error) => ({ status: 500, body: { error: String(error) } }))
    response.writeHead(status, { 'content-type': 'application/json' })
    response.end(`${JSON.stringify(body)}\n`)
  })
  // Longer than a sidecar keeps an idle connection, so that it is never this side that closes first.
  server.keepAliveTimeout = 120_000
  server.listen(Number(process.env.PORT), '127.0.0.1')
  process.once('SIGTERM', () => {
    onStop()
    server.close(() => process.exit(0))
    server.closeIdleConnections()
  })
}
