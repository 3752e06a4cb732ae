/** What `cert inspect` and its kin find out: certificates, requests and tokens, described and judged. */
import { readFile } from 'node:fs/promises'

import {
  type Anchors,
  describeCertificate,
  describeRequest,
  describeToken,
  type Inspection,
  judgeChain,
  MAX_INPUT_BYTES,
  type TokenJudges,
  withIssuers,
  withLog,
} from '#ca/inspect/index.ts'
import { parseSpiffeId, parseTrustDomain, trustDomainOf } from '#ca/spiffe/index.ts'
import { DeployError } from '../error.ts'
import { askMesh } from '../standalone/admin-client.ts'
import { deniesOf, type ToldDenial } from '../standalone/denials.ts'
import { stateDirOf } from '../standalone/state-dir.ts'
import { type Input, type Io, textOption } from './command.ts'
import { readExpectations, unmet } from './expectations.ts'
import type { Found } from './find-certificates.ts'
import { isKeyOf } from './key-of.ts'
import { logReports } from './log-reports.ts'
import { inPlace } from './named-place.ts'
import { readNamed } from './read-bytes.ts'
import { readContents } from './read-contents.ts'
import type { RunningMesh } from './running-mesh.ts'

/**
 * Describes and judges what was found, by the roots that `input` names, those that came along, or
 * those of the running mesh.
 *
 * @throws {Error} if what was found, or a file that is named, cannot be read
 */
export async function inspectFound(
  io: Io,
  input: Input,
  found: Found,
  mesh: RunningMesh | undefined,
  signal: AbortSignal,
): Promise<Inspection> {
  const now = io.now()
  const { id = found.expectedId, ...others } = readExpectations(input)
  const { certificates: chain, requests = [], tokens = [] } = found.contents
  const [place = ''] = input.arguments
  const describe = (der: Uint8Array) => inPlace(place, () => describeCertificate(der, now))
  const described = withIssuers(chain.map(describe))
  const logged = await logReports(io, input, chain, described, signal)
  const certificates = described.map((one, at) => {
    const log = logged[at]
    return log ? withLog(one, log) : one
  })
  const ids = [...certificates, ...tokens.map((token) => describeToken(token, {}, now))]
  const anchors = await anchorsFor(io, input, found, ids, mesh, signal)
  const judges = { ...anchors, ...audienceOf(input) }
  const inspection: Inspection = {
    certificates,
    chain:
      chain.length > 0
        ? judgeChain(chain, certificates, anchors, now)
        : { verified: null, trustAnchor: null, error: 'there is no certificate to verify' },
    requests: requests.map(describeRequest),
    tokens: tokens.map((token) => describeToken(token, judges, now)),
    origin: found.origin,
  }
  const wanted = { ...others, ...(id !== undefined && { id }) }
  const fault = wrongKey(found) ?? unmet(wanted, inspection)
  if (inspection.chain.verified === false || fault === undefined) return inspection
  return { ...inspection, chain: { ...inspection.chain, verified: false, error: fault } }
}

/** Whether nothing is wrong that peers would refuse, and everything is as it was expected. */
export function isGood({ certificates, chain, requests, tokens }: Inspection): boolean {
  const judged = [...certificates, ...requests, ...tokens]
  return (
    chain.verified !== false &&
    tokens.every(({ verified }) => verified !== false) &&
    certificates.every(({ log }) => log?.verified !== false) &&
    judged.every(({ findings }) => findings.every(({ severity }) => severity !== 'error'))
  )
}

function audienceOf(input: Input): Pick<TokenJudges, 'audience'> {
  const audience = textOption(input, 'audience')
  return audience === undefined ? {} : { audience }
}

/** Roots, the keys that verify tokens, and whose they are if that is known. */
export type NamedAnchors = Anchors & Pick<TokenJudges, 'jwtKeys'>

/** Roots given, or those that came along, or the running mesh's for identities of its own. */
async function anchorsFor(
  io: Io,
  input: Input,
  found: Found,
  shown: readonly { readonly spiffeId: string | null }[],
  mesh: RunningMesh | undefined,
  signal: AbortSignal,
): Promise<NamedAnchors | undefined> {
  const given = textOption(input, 'bundle')
  if (given !== undefined) return readAnchors(io, given)
  if (found.anchors) return found.anchors
  const { roots, jwtKeys } = found.contents
  if (roots) return { roots, ...(jwtKeys && { jwtKeys }) }
  const id = shown.find(({ spiffeId }) => spiffeId !== null)?.spiffeId
  if (!mesh || !id || trustDomainOf(parseSpiffeId(id)) !== mesh.trustDomain) return undefined
  return readMeshAnchors(io, input, mesh, signal)
}

/** What the running mesh is known by, for its own trust domain, and what it has revoked. */
export async function readMeshAnchors(
  io: Io,
  input: Input,
  { ca, trustDomain }: RunningMesh,
  signal: AbortSignal,
): Promise<NamedAnchors> {
  const { certificates: roots, jwtKeys } = readContents(await readFile(ca.document ?? ca.bundle))
  const state = stateDirOf(textOption(input, 'state'), io.env, io.cwd)
  // None that runs knows no more than its files.
  const told = await askMesh(state, '/ca/denials', io, signal).catch(() => undefined)
  return {
    trustDomain: parseTrustDomain(trustDomain),
    roots,
    ...(jwtKeys && { jwtKeys }),
    denies: deniesOf((told ?? []) as readonly ToldDenial[]),
  }
}

/**
 * The roots, and the keys of JWT-SVIDs, in a file.
 *
 * @throws {Error} if it cannot be read or has neither
 */
export async function readAnchors(io: Io, file: string): Promise<NamedAnchors> {
  const bytes = await readNamed(file, io.cwd, MAX_INPUT_BYTES)
  const { certificates, roots, jwtKeys } = inPlace(file, () => readContents(bytes))
  if (certificates.length === 0 && (jwtKeys ?? []).length === 0) {
    throw new DeployError('DEPLOY_USAGE', `Cannot verify with ${file}: it has no certificate`)
  }
  return { roots: roots ?? certificates, ...(jwtKeys && { jwtKeys }) }
}

/** A certificate whose key is somewhere else is as bad as none. */
function wrongKey({ contents: { certificates, key } }: Found): string | undefined {
  if (certificates.length === 0 || !key || isKeyOf(key, certificates)) return undefined
  return 'wrong-key: the private key beside it is not that of the first certificate'
}
