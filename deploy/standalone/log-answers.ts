import { readPassphrase } from './read-passphrase.ts'
import type { AdminAnswers } from './admin-server.ts'
import type { BackupCall } from './messages.ts'

/** What `admin.sock` answers about the CA's log, ledger and deny-list; the CA's process knows. */
export function logAnswers(
  callCa: (name: string, body?: unknown) => Promise<unknown>,
  uid: number,
): AdminAnswers {
  return {
    '/ca/denials': () => callCa('denials'),
    '/ca/log/key': () => callCa('log-key'),
    '/ca/log/head': () => callCa('log-head'),
    '/ca/log/prove': (query) => callCa('log-prove', query.get('serial') ?? ''),
    '/ca/log/prove-since': (query) => callCa('log-prove-since', Number(query.get('size'))),
    '/ca/log/audit': () => callCa('log-audit'),
    '/ca/backup': async (query) => {
      const passphrase = await readPassphrase(query.get('passphraseFile') ?? '')
      const to = query.get('to') ?? ''
      await callCa('backup', { to, passphrase, uid } satisfies BackupCall)
      return { to }
    },
  }
}
