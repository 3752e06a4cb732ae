import type { AdminAnswers } from './admin-server.ts'

/** What `admin.sock` answers about the CA's log; the CA's process knows. */
export function logAnswers(
  callCa: (name: string, body?: unknown) => Promise<unknown>,
): AdminAnswers {
  return {
    '/ca/log/key': () => callCa('log-key'),
    '/ca/log/head': () => callCa('log-head'),
    '/ca/log/prove': (query) => callCa('log-prove', query.get('serial') ?? ''),
    '/ca/log/prove-since': (query) => callCa('log-prove-since', Number(query.get('size'))),
    '/ca/log/audit': () => callCa('log-audit'),
  }
}
