/** `redoubt cert verify`: whether a peer would be believed, by the one function that sidecars ask. */
import { describeCertificate, describeToken, judgeChain } from '#ca/inspect/index.ts'
import { parseSpiffeId, parseTrustDomain, trustDomainOf } from '#ca/spiffe/index.ts'
import { type TrustBundle, verifySvid } from '#ca/x509/index.ts'
import { DeployError } from '../../error.ts'
import { stateDirOf } from '../../standalone/state-dir.ts'
import { type Command, type Input, type Io, listOption, textOption } from '../command.ts'
import { readExpectations } from '../expectations.ts'
import { findCertificates, type Found } from '../find-certificates.ts'
import { type NamedAnchors, readAnchors, readMeshAnchors } from '../inspection.ts'
import { OUTPUT_OPTION, outputFormat, print, styleOf } from '../output.ts'
import { readRunningMesh } from '../running-mesh.ts'
import { SOURCE_OPTIONS } from '../source-options.ts'
import { STATE_OPTION } from '../state-option.ts'

/** As `--output json` prints it. */
interface Verdict {
  readonly verified: boolean
  readonly spiffeId: string | null
  /** Subject of the root; of a token the key that signed it. */
  readonly trustAnchor: string | null
  /** Stable; left out when it is verified. */
  readonly reason?: string
  readonly detail?: string
  /** RFC 3339, UTC: as of when. */
  readonly at: string
}

export const certVerify: Command = {
  name: 'cert verify',
  summary: 'would a sidecar believe it? By the same function, for a role and a time of your choice',
  arguments: [{ name: 'FILE|-|HOST:PORT', summary: 'a chain or a JWT-SVID; or a TLS server' }],
  options: [
    ...SOURCE_OPTIONS.filter(({ flags }) => !flags.startsWith('--bundle')),
    {
      flags: '--bundle <[domain=]file>',
      summary: "roots; of another trust domain than the leaf's with its name (default: the mesh's)",
      repeat: true,
    },
    {
      flags: '--role <role>',
      summary: 'what the peer is in the handshake',
      choices: ['server', 'client'],
      default: 'server',
    },
    { flags: '--at <time>', summary: 'as of when, e.g. 2027-01-31T12:00:00Z (default: now)' },
    { flags: '--expect <spiffe-id>', summary: 'the SPIFFE ID that it has to be' },
    { flags: '--audience <name>', summary: 'whom a JWT-SVID has to be for' },
    STATE_OPTION,
    OUTPUT_OPTION,
  ],
  examples: [
    {
      what: 'Would peers believe this chain, by these roots?',
      command: 'redoubt cert verify chain.pem --bundle bundle.pem',
    },
    {
      what: 'And a month from now, as a client, if it has to be the billing service?',
      command:
        'redoubt cert verify chain.pem --bundle bundle.pem --role client --at 2027-01-31T12:00:00Z --expect spiffe://cluster.local/ns/pay/sa/billing',
    },
  ],
  async run(io, input, signal) {
    const at = instantOf(io, textOption(input, 'at'))
    const { id: wanted } = readExpectations(input)
    const mesh = await readRunningMesh(stateDirOf(textOption(input, 'state'), io.env, io.cwd))
    const found = await findCertificates(io, input, mesh, signal)
    const { certificates, tokens = [], format } = found.contents
    if (certificates.length + tokens.length === 0) {
      throw usage(`Cannot verify the ${format}: expected a certificate or a JWT-SVID`)
    }
    const anchors = await allAnchors(io, input, found)
    if (anchors.length === 0 && mesh) {
      anchors.push(await readMeshAnchors(io, input, mesh, signal))
    }
    if (anchors.length === 0) {
      throw usage('Cannot verify: no roots are known, expected --bundle FILE')
    }
    const verdict = expected(wanted, judge(input, found, anchors, at))
    print(io, outputFormat(input), verdict, () => [verdictLine(io, verdict)])
    return verdict.verified ? 0 : 1
  },
}

async function allAnchors(io: Io, input: Input, found: Found): Promise<NamedAnchors[]> {
  const given = listOption(input, 'bundle').map(async (text) => {
    const [, domain, file = text] = /^([a-z0-9._-]+)=(.+)$/.exec(text) ?? []
    const anchors = await readAnchors(io, file)
    return domain === undefined ? anchors : { ...anchors, trustDomain: parseTrustDomain(domain) }
  })
  if (given.length > 0) return Promise.all(given)
  const { roots } = found.contents
  if (found.anchors) return [found.anchors]
  return roots ? [{ roots }] : []
}

function judge(
  input: Input,
  { contents: { certificates, tokens = [] } }: Found,
  anchors: readonly NamedAnchors[],
  at: Temporal.Instant,
): Verdict {
  const [token] = tokens
  if (certificates.length === 0 && token !== undefined) return judgeToken(input, token, anchors, at)
  const reports = certificates.map((der) => describeCertificate(der, at))
  const leafAt = reports.findIndex(({ ca }) => !ca)
  const id = reports[leafAt]?.spiffeId ?? null
  const roots = anchors.flatMap((one) => one.roots)
  if (leafAt === -1) {
    const { verified, trustAnchor, error } = judgeChain(certificates, reports, { roots }, at)
    return verdictOf(verified === true, { id, trustAnchor, error, at })
  }
  const path = [...certificates.slice(leafAt), ...certificates.slice(0, leafAt)]
  const role = textOption(input, 'role') === 'client' ? 'client' : 'server'
  const verdict = verifySvid(path, bundlesFor(id, anchors), at, role)
  if (verdict.kind === 'refused') {
    const { reason, detail } = verdict
    return verdictOf(false, { id, trustAnchor: null, error: `${reason}: ${detail}`, at })
  }
  const { trustAnchor } = judgeChain(
    path,
    path.map((der) => describeCertificate(der, at)),
    { roots },
    at,
  )
  return verdictOf(true, { id, trustAnchor, error: null, at })
}

/** Roots without a name are for whatever trust domain the leaf is of. */
function bundlesFor(id: string | null, anchors: readonly NamedAnchors[]): readonly TrustBundle[] {
  const own = id === null ? undefined : trustDomainOf(parseSpiffeId(id))
  const domains = new Set([own, ...anchors.map(({ trustDomain }) => trustDomain)])
  return [...domains].flatMap((trustDomain) => {
    const of = anchors.filter((one) => (one.trustDomain ?? own) === trustDomain)
    const roots = of.flatMap((one) => one.roots)
    const denies = of.find((one) => one.denies)?.denies
    return trustDomain === undefined || of.length === 0
      ? []
      : [{ trustDomain, generation: 0, roots, denies }]
  })
}

function judgeToken(
  input: Input,
  token: string,
  anchors: readonly NamedAnchors[],
  at: Temporal.Instant,
): Verdict {
  const audience = textOption(input, 'audience')
  if (audience === undefined) {
    throw usage('Cannot verify a JWT-SVID: expected --audience NAME, who it was shown to')
  }
  const { spiffeId } = describeToken(token, {}, at)
  const own = spiffeId === null ? undefined : trustDomainOf(parseSpiffeId(spiffeId))
  // The keys of one trust domain vouch for tokens of no other.
  const known = anchors.filter((one) => (one.trustDomain ?? own) === own && one.jwtKeys)
  if (known.length === 0) {
    throw usage(
      `Cannot verify a JWT-SVID: no keys ${own === undefined ? '' : `of "${own}" `}are known to do it with, expected --bundle FILE of a SPIFFE bundle`,
    )
  }
  const jwtKeys = known.flatMap((one) => one.jwtKeys ?? [])
  const { spiffeId: id, keyId, verified, error } = describeToken(token, { jwtKeys, audience }, at)
  return verdictOf(verified === true, { id, trustAnchor: keyId, error, at })
}

interface Outcome {
  readonly id: string | null
  readonly trustAnchor: string | null
  /** `reason: detail`. */
  readonly error: string | null
  readonly at: Temporal.Instant
}

function verdictOf(verified: boolean, { id, trustAnchor, error, at }: Outcome): Verdict {
  const [, reason = 'unverified', detail = error ?? ''] =
    /^([a-z-]+): (.*)$/s.exec(error ?? '') ?? []
  return {
    verified,
    spiffeId: id,
    trustAnchor: verified ? trustAnchor : null,
    ...(!verified && { reason, detail }),
    at: at.toString(),
  }
}

function expected(wanted: string | undefined, verdict: Verdict): Verdict {
  if (wanted === undefined || !verdict.verified || verdict.spiffeId === wanted) return verdict
  const detail = `it is ${verdict.spiffeId ?? 'nobody'}, expected ${wanted}`
  return { ...verdict, verified: false, trustAnchor: null, reason: 'wrong-identity', detail }
}

function verdictLine(io: Io, verdict: Verdict): string {
  const { verified, spiffeId, trustAnchor, reason, detail } = verdict
  const style = styleOf(io)
  const who = spiffeId ?? 'it'
  if (verified) return style.good(`✔ ${who} is verified up to ${trustAnchor}`)
  return style.bad(`✘ ${who} is not verified: ${reason}: ${detail}`)
}

function instantOf(io: Io, text: string | undefined): Temporal.Instant {
  if (text === undefined) return io.now()
  try {
    return Temporal.Instant.from(text)
  } catch (cause) {
    throw usage(
      `Cannot verify as of ${JSON.stringify(text)}: expected a time such as 2027-01-31T12:00:00Z`,
      cause,
    )
  }
}

function usage(message: string, cause?: unknown): DeployError {
  return new DeployError('DEPLOY_USAGE', message, { cause })
}
