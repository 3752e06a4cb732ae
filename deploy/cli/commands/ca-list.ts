import { LIFE_WORDS } from '#ca/log/index.ts'
import type { LedgerRow, ListCertificatesRequest } from '#ca/proto/gen/admin.ts'
import { DeployError } from '../../error.ts'
import { CA_OPTIONS, openCaClient } from '../ca-client.ts'
import { isoText, remainingText } from '../ca-text.ts'
import { type Command, flagOption, type Input, textOption } from '../command.ts'
import { OUTPUT_OPTION, outputFormat, print } from '../output.ts'

/** `redoubt ca list`: rows of the ledger, newest first. */
export const caList: Command = {
  name: 'ca list',
  summary: 'list certificates of the ledger, newest first; only those that have not ended',
  options: [
    { flags: '--id <spiffe-id>', summary: 'only of this identity; a beginning if it ends in *' },
    { flags: '--serial <hex>', summary: 'only the one with this serial' },
    { flags: '--issuer <hex>', summary: 'only those issued by the CA with this serial' },
    { flags: '--all', summary: 'those that have ended, too' },
    { flags: '-n, --limit <n>', summary: 'rows at most', default: '100' },
    ...CA_OPTIONS,
    OUTPUT_OPTION,
  ],
  examples: [
    { what: 'Certificates that are valid now', command: 'redoubt ca list' },
    {
      what: 'Every certificate that a workload ever had, as JSON',
      command:
        'redoubt ca list --id spiffe://cluster.local/ns/qotm/sa/qotm --all --limit 100000 --output json',
    },
  ],
  async run(io, input, signal) {
    const wanted = limitOf(input)
    using ca = await openCaClient(io, input, signal)
    const rows: LedgerRow[] = []
    for (let before = 0n; rows.length < wanted; ) {
      const limit = Math.min(wanted - rows.length, PAGE)
      const request: ListCertificatesRequest = {
        serial: textOption(input, 'serial')?.toLowerCase() ?? '',
        subject: textOption(input, 'id') ?? '',
        issuerSerial: textOption(input, 'issuer')?.toLowerCase() ?? '',
        ended: flagOption(input, 'all'),
        limit,
        before,
      }
      const page = await ca.call('listCertificates', request, signal)
      rows.push(...page.rows)
      before = page.next
      if (before === 0n) break
    }
    const now = io.now()
    print(io, outputFormat(input), { certificates: rows.map(rowJson) }, () =>
      rows.length === 0 ? ['no such certificates'] : rows.map((row) => rowText(row, now)),
    )
    return 0
  },
}

/** Rows that are asked for at a time. */
const PAGE = 1000

function limitOf(input: Input): number {
  const text = textOption(input, 'limit') ?? '100'
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text)
  throw new DeployError(
    'DEPLOY_USAGE',
    `Cannot list ${JSON.stringify(text)} rows: expected a number of 1 or more`,
  )
}

/** A row as JSON says it. */
export function rowJson(row: LedgerRow): object {
  const { logIndex, issuedAtMs, notBeforeMs, notAfterMs, life, ...rest } = row
  return {
    ...rest,
    issuedAt: isoText(issuedAtMs),
    notBefore: isoText(notBeforeMs),
    notAfter: isoText(notAfterMs),
    logIndex: Number(logIndex),
    life: life === '' ? null : life,
  }
}

function rowText(row: LedgerRow, now: Temporal.Instant): string {
  const { serial, kind, subject, notAfterMs, requestedBy, issuerSerial, life } = row
  const why = life in LIFE_WORDS ? `; ${LIFE_WORDS[life as keyof typeof LIFE_WORDS]}` : ''
  const end = `ends ${isoText(notAfterMs)} (${remainingText(notAfterMs, now)}${why})`
  return `${serial.padEnd(32)}  ${kind.padEnd(7)}  ${subject}  ${end}, for ${requestedBy}, by ${issuerSerial}`
}
