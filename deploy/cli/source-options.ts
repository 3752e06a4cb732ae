import type { CommandOption } from './command.ts'

/** Where the certificates of a `cert` command come from, and how; what `findCertificates` reads. */
export const SOURCE_OPTIONS: readonly CommandOption[] = [
  { flags: '-w, --workload <ns/name>', summary: 'what the sidecar of a running workload serves' },
  { flags: '--agent <socket>', summary: 'what an agent gives this process (SPIFFE Workload API)' },
  {
    flags: '--bundle <file>',
    summary: 'roots to verify with (default: those that come along, or of the running mesh)',
  },
  { flags: '--password-file <file>', summary: 'its first line opens a PKCS#12' },
  { flags: '--sni <name>', summary: 'server name to ask an endpoint for' },
  { flags: '--alpn <protocol>', summary: 'protocol to offer an endpoint', repeat: true },
  { flags: '--client-cert <file>', summary: 'PEM to present to an endpoint' },
  { flags: '--client-key <file>', summary: 'its private key' },
  { flags: '--timeout <duration>', summary: 'how long to wait for an answer', default: '5s' },
]
