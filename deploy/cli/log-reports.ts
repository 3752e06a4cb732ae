/** What the log here, or a proof that was given, says of certificates. */
import { createPublicKey } from 'node:crypto'

import { type InclusionProof, type LogReport, readProof, reportLog } from '#ca/log/index.ts'
import { parseSpiffeId, trustDomainOf } from '#ca/spiffe/index.ts'
import { DeployError } from '../error.ts'
import { openCaLog, readLogKey } from './ca-log.ts'
import { type Input, type Io, textOption } from './command.ts'
import { readText } from './read-text.ts'

/** As much of a certificate as is asked for here. */
export interface Described {
  readonly spiffeId: string | null
  readonly serial: string
  readonly remainingSeconds: number
}

/**
 * A report for each certificate, in order; `undefined` for those that no log here has to know:
 * of other trust domains, or expired so that their rows may be gone.
 *
 * @throws {DeployError} `DEPLOY_USAGE` if a proof is given and cannot be read
 */
export async function logReports(
  io: Io,
  input: Input,
  chain: readonly Uint8Array[],
  certificates: readonly Described[],
  signal: AbortSignal,
): Promise<readonly (LogReport | undefined)[]> {
  const file = textOption(input, 'logProof')
  if (file !== undefined) return reportGiven(io, input, file, chain, certificates)
  if (certificates.every(({ spiffeId }) => spiffeId === null)) return []
  try {
    using log = await openCaLog(io, input, signal)
    const publicKey = createPublicKey(log.publicKeyPem)
    const { log: trustDomain } = await log.head()
    return await Promise.all(
      chain.map(async (der, at) => {
        const described = certificates[at]
        if (!described || !isOf(trustDomain, described)) return undefined
        const proof = await log.prove(described.serial)
        if (!proof && described.remainingSeconds < 0) return undefined
        return reportLog(der, proof, publicKey)
      }),
    )
  } catch {
    return [] // Nobody asked for it: a log that does not answer is not a fault of a certificate.
  }
}

async function reportGiven(
  io: Io,
  input: Input,
  file: string,
  chain: readonly Uint8Array[],
  certificates: readonly Described[],
): Promise<readonly (LogReport | undefined)[]> {
  const keyFile = textOption(input, 'logKey')
  if (keyFile === undefined) {
    throw usage('Cannot check a proof: expected --log-key FILE, the public key of the log')
  }
  const proof = readProof(await readText(io, file))
  if (proof.kind !== 'inclusion')
    throw usage(`Cannot check ${file}: it is no proof of a certificate`)
  const publicKey = await readLogKey(io, keyFile)
  const at = Math.max(0, placeOf(proof, certificates))
  return chain.map((der, place) => (place === at ? reportLog(der, proof, publicKey) : undefined))
}

function placeOf({ entry }: InclusionProof, certificates: readonly Described[]): number {
  return certificates.findIndex(({ serial }) => serial === entry.serial)
}

function isOf(trustDomain: string, { spiffeId }: Described): boolean {
  return spiffeId !== null && trustDomainOf(parseSpiffeId(spiffeId)) === trustDomain
}

function usage(message: string): DeployError {
  return new DeployError('DEPLOY_USAGE', message)
}
