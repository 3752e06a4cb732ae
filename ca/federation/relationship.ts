/** What an operator says of a trust domain that is to be believed (SPIFFE Federation §4.2): every word of it explicit. */
import { CaError } from '../error.ts'
import { parseSpiffeId, type SpiffeId, type TrustDomain, trustDomainOf } from '../spiffe/index.ts'
import { derFromPem, readCertificate, type TrustBundle } from '../x509/index.ts'
import { type BundleDocument, readBundleDocument } from './document.ts'
import { endpointUrl } from './fetch.ts'

/** A trust domain whose SVIDs are believed, and where its bundle is. */
export interface Relationship {
  readonly trustDomain: TrustDomain
  /** https, without user information. */
  readonly url: string
  readonly profile: EndpointProfile
}

export type EndpointProfile =
  | {
      readonly kind: 'https_web'
      /** PEM of the authorities that its certificate leads to. @default those of Node */
      readonly roots?: string
    }
  | {
      readonly kind: 'https_spiffe'
      readonly endpointId: SpiffeId
      /**
       * The bundle of the endpoint's trust domain, SPIFFE's JSON or PEM. Needed where that is the
       * domain of this relationship; read until a first fetch has succeeded.
       */
      readonly bootstrap?: string
    }

/** Everything that is wrong with `relationships`. Pure. */
export function relationshipFaults(
  relationships: readonly Relationship[],
  own: TrustDomain,
): readonly string[] {
  const names = relationships.map(({ trustDomain }) => trustDomain)
  const twice = names.find((name, at) => names.indexOf(name) !== at)
  return [
    ...(twice === undefined ? [] : [`"${twice}" is federated with twice`]),
    ...relationships.flatMap((one) =>
      faultsOf(one, own).map((why) => `federation with "${one.trustDomain}": ${why}`),
    ),
  ]
}

function faultsOf(
  { trustDomain, url, profile }: Relationship,
  own: TrustDomain,
): readonly string[] {
  const faults: string[] = []
  const tried = (run: () => unknown): void => {
    try {
      run()
    } catch (cause) {
      faults.push((cause as Error).message)
    }
  }
  if (trustDomain === own) faults.push('it is this mesh itself')
  tried(() => endpointUrl(url))
  if (profile.kind === 'https_web') {
    const { roots } = profile
    if (roots !== undefined) tried(() => derFromPem('CERTIFICATE', roots))
    return faults
  }
  const { endpointId, bootstrap } = profile
  tried(() => parseSpiffeId(endpointId))
  if (bootstrap !== undefined) tried(() => readBootstrap(bootstrap))
  else if (isSelfServing({ trustDomain, profile })) {
    faults.push('its endpoint serves its own bundle, expected one to begin with (bootstrap)')
  }
  return faults
}

/** Whether the endpoint is judged by the very bundle that it serves. */
export function isSelfServing({
  trustDomain,
  profile,
}: Pick<Relationship, 'trustDomain' | 'profile'>): boolean {
  return profile.kind === 'https_spiffe' && trustDomainOf(profile.endpointId) === trustDomain
}

/** @throws {CaError} `CA_FEDERATION_INVALID`, `CA_DER_INVALID` */
export function readBootstrap(text: string): BundleDocument {
  if (text.trimStart().startsWith('{')) return readBundleDocument(text)
  const roots = derFromPem('CERTIFICATE', text)
  for (const root of roots) {
    if (readCertificate(root).isCa) continue
    throw new CaError('CA_FEDERATION_INVALID', 'Cannot read the bundle: a root is not a CA')
  }
  return { sequence: undefined, refreshHint: undefined, roots, jwtKeys: [] }
}

/** A document as what its trust domain is judged by. */
export function bundleOf(trustDomain: TrustDomain, document: BundleDocument): TrustBundle {
  const { roots, jwtKeys } = document
  return { trustDomain, generation: 1, roots, jwtKeys }
}
