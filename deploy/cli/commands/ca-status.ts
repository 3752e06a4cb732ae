import type {
  AuthorityStatus,
  CaStatus,
  Denial,
  JwtKeyStatus,
  ReplicaStatus,
} from '#ca/proto/gen/admin.ts'
import { CA_OPTIONS, openCaClient } from '../ca-client.ts'
import { isoText, laggardText, remainingText, spanText } from '../ca-text.ts'
import type { Command, Io } from '../command.ts'
import { OUTPUT_OPTION, outputFormat, paint, print } from '../output.ts'

/** `redoubt ca status`: authorities with state, bundle generation, live leaves; 1 if it cannot sign. */
export const caStatus: Command = {
  name: 'ca status',
  summary: "show the CA's keys with their state, live leaves by issuer, and what is revoked",
  options: [...CA_OPTIONS, OUTPUT_OPTION],
  examples: [
    { what: 'Show the CA of the mesh of this directory', command: 'redoubt ca status' },
    {
      what: 'The key that signs certificates now, in a script',
      command:
        'redoubt ca status --output json | jq -r \'.authorities[] | select(.kind == "issuing" and .state == "active").keyId\'',
    },
  ],
  async run(io, input, signal) {
    using ca = await openCaClient(io, input, signal)
    const status = await ca.call('status', {}, signal)
    print(io, outputFormat(input), statusJson(status), () => statusLines(status, io))
    return status.ready ? 0 : 1
  },
}

/** The status with instants as text. */
export function statusJson(status: CaStatus): object {
  const { authorities, generation, rotation, subscribers, replicas, jwtKeys, ...others } = status
  const { denials, denialCount, ...rest } = others
  return {
    ...rest,
    generation: Number(generation),
    rotation: rotation
      ? {
          phase: rotation.phase,
          from: rotation.fromKeyId,
          to: rotation.toKeyId,
          startedAt: isoText(rotation.startedAtMs),
        }
      : null,
    subscribers: subscribers.map((each) => ({ ...each, generation: Number(each.generation) })),
    replicas: replicas.map(({ startedAtMs, seenAtMs, ...replica }) => ({
      ...replica,
      startedAt: isoText(startedAtMs),
      seenAt: isoText(seenAtMs),
    })),
    authorities: authorities.map(
      ({ notBeforeMs, notAfterMs, activeAtMs, liveLeaves, ...authority }) => ({
        ...authority,
        notBefore: isoText(notBeforeMs),
        notAfter: isoText(notAfterMs),
        ...(activeAtMs > 0n && { activeAt: isoText(activeAtMs) }),
        liveLeaves: Number(liveLeaves),
      }),
    ),
    jwtKeys: jwtKeys.map(({ createdAtMs, activeAtMs, notAfterMs, ...key }) => ({
      ...key,
      createdAt: isoText(createdAtMs),
      activeAt: isoText(activeAtMs),
      notAfter: isoText(notAfterMs),
    })),
    denials: denials.map(({ untilMs, ...denial }) => ({
      ...denial,
      until: untilMs === 0n ? null : isoText(untilMs),
    })),
    denialCount: Number(denialCount),
  }
}

/** The status for people. */
export function statusLines(status: CaStatus, io: Io): readonly string[] {
  const { trustDomain, generation, ready, reasons, authorities, jwtKeys, ...others } = status
  const { subscribers, replicas, denials, denialCount } = others
  const untold = Number(denialCount) - denials.length
  const behind = subscribers.filter((each) => each.connected && each.generation < generation)
  const mark = ready ? paint(io, 'green', 'ready') : paint(io, 'red', 'cannot sign')
  return [
    `CA of ${trustDomain}  ${mark}  bundle generation ${generation}`,
    ...reasons.map((reason) => paint(io, 'yellow', `  ${reason}`)),
    ...replicas.map((replica) => `  ${replicaText(replica, io)}`),
    ...authorities.map((authority) => `  ${authorityText(authority, io)}`),
    ...jwtKeys.map((key) => `  ${jwtKeyText(key, io)}`),
    `  ${subscribers.length - behind.length} of ${subscribers.length} agents and proxies have acknowledged generation ${generation}`,
    ...behind.map(laggardText),
    ...denials.map((denial) => `  ${denialText(denial, io)}`),
    ...(untold > 0 ? [`  and ${untold} more that were revoked before`] : []),
  ]
}

const DENIED: Readonly<Record<string, string>> = {
  serial: 'certificate',
  'spiffe-id': 'identity',
  'key-id': 'key',
}

function denialText({ kind, value, untilMs }: Denial, io: Io): string {
  const end = `${isoText(untilMs)} (${remainingText(untilMs, io.now())})`
  const until = `until ${untilMs === 0n ? 'that is undone' : end}`
  return `${paint(io, 'red', 'revoked')} ${DENIED[kind] ?? kind} ${value}  ${until}`
}

function replicaText({ address, alive, self, seenAtMs }: ReplicaStatus, io: Io): string {
  const mark = alive ? paint(io, 'green', 'there') : paint(io, 'red', 'gone ')
  const seconds = Math.max(0, Math.floor((io.now().epochMilliseconds - Number(seenAtMs)) / 1000))
  const when = alive ? '' : `, last seen ${spanText(seconds)} ago`
  return `replica ${mark} ${address}${self ? ', which answers' : when}`
}

const STYLES: Readonly<Record<string, Parameters<typeof paint>[1]>> = {
  active: 'green',
  tainted: 'red',
  revoked: 'red',
}

function jwtKeyText({ state, keyId, activeAtMs, notAfterMs }: JwtKeyStatus, io: Io): string {
  const shown = paint(io, STYLES[state] ?? 'dim', state.padEnd(8))
  const planned = state === 'prepared' ? `, to be used from ${isoText(activeAtMs)}` : ''
  const end = `ends ${isoText(notAfterMs)} (${remainingText(notAfterMs, io.now())})`
  return `${'tokens'.padEnd(7)} ${shown} key ${keyId}  ${end}${planned}`
}

function authorityText(authority: AuthorityStatus, io: Io): string {
  const { kind, state, keyId, serial, notAfterMs, activeAtMs, liveLeaves } = authority
  const shown = paint(io, STYLES[state] ?? 'dim', state.padEnd(8))
  const planned = activeAtMs > 0n ? `, to be used from ${isoText(activeAtMs)}` : ''
  const leaves = `${liveLeaves} live ${liveLeaves === 1n ? 'leaf' : 'leaves'}`
  const end = `ends ${isoText(notAfterMs)} (${remainingText(notAfterMs, io.now())})`
  return `${kind.padEnd(7)} ${shown} key ${keyId}  ${leaves}, ${end}${planned}, serial ${serial}`
}
