/** What `redoubt analyze` finds: Istio's codes where Istio has one (istio-semantics §16.3), ours beside. */
import type { ManifestEdit } from '../dialects/edit-manifest.ts'
import type { PathKey } from '../dialects/pointer.ts'

export type Severity = 'error' | 'warning' | 'info'

/** What a code means. */
export interface CodeMeaning {
  readonly severity: Severity
  /** In one word; Istio's own where the code is Istio's. */
  readonly title: string
  /** Raised when. */
  readonly when: string
}

const error = (title: string, when: string): CodeMeaning => ({ severity: 'error', title, when })
const warning = (title: string, when: string): CodeMeaning => ({ severity: 'warning', title, when })
const info = (title: string, when: string): CodeMeaning => ({ severity: 'info', title, when })

export type FindingCode =
  | 'IST0002'
  | 'IST0101'
  | 'IST0106'
  | 'IST0107'
  | 'IST0108'
  | 'IST0109'
  | 'IST0110'
  | 'IST0111'
  | 'IST0112'
  | 'IST0116'
  | 'IST0118'
  | 'IST0125'
  | 'IST0127'
  | 'IST0128'
  | 'IST0129'
  | 'IST0130'
  | 'IST0131'
  | 'IST0132'
  | 'IST0133'
  | 'IST0134'
  | 'IST0135'
  | 'IST0137'
  | 'IST0145'
  | 'IST0149'
  | 'IST0159'
  | 'IST0160'
  | 'IST0171'
  | 'IST0173'
  | 'IST0174'
  | 'IST0177'
  | 'RDB0001'
  | 'RDB0002'
  | 'RDB0003'
  | 'RDB0004'
  | 'RDB0005'
  | 'RDB0006'
  | 'RDB0007'
  | 'RDB0008'
  | 'RDB0009'
  | 'RDB0010'
  | 'RDB0011'
  | 'RDB0012'
  | 'RDB0013'
  | 'RDB0014'
  | 'RDB0015'
  | 'RDB0016'
  | 'RDB0017'
  | 'RDB0018'
  | 'RDB0019'
  | 'RDB0020'
  | 'RDB0021'
  | 'RDB0022'
  | 'RDB0023'
  | 'RDB0024'
  | 'RDB0025'
  | 'RDB0026'
  | 'RDB0027'

/** Every code that is raised; the table in `policy/analyze/README.md` is made of it. */
export const CODES: Readonly<Record<FindingCode, CodeMeaning>> = {
  IST0002: warning('Deprecated', 'a field is used that Istio has replaced'),
  IST0101: error(
    'ReferencedResourceNotFound',
    'a route names a host, subset or gateway, a policy a namespace, or a Gateway a workload or Secret that does not exist',
  ),
  IST0106: error(
    'SchemaValidationError',
    'a document is not valid; the others are analyzed without it',
  ),
  IST0107: warning(
    'MisplacedAnnotation',
    "an annotation of Istio's stands on a kind that nobody reads it of",
  ),
  IST0108: warning('UnknownAnnotation', 'Istio has no such annotation'),
  IST0109: error(
    'ConflictingMeshGatewayVirtualServiceHosts',
    'two VirtualServices for sidecars have one host',
  ),
  IST0110: error('ConflictingSidecarWorkloadSelectors', 'two Sidecars select one workload'),
  IST0111: error(
    'MultipleSidecarsWithoutWorkloadSelectors',
    'a namespace has several Sidecars without a selector',
  ),
  IST0112: error(
    'VirtualServiceDestinationPortSelectorRequired',
    'a route to a service of several ports names none',
  ),
  IST0116: warning(
    'DeploymentAssociatedToMultipleServices',
    'services give one workload port different protocols',
  ),
  IST0118: info('PortNameIsNotUnderNamingConvention', "a service port's name tells no protocol"),
  IST0125: warning('InvalidAnnotation', 'the value of an annotation means nothing'),
  IST0127: warning(
    'NoMatchingWorkloadsFound',
    "an AuthorizationPolicy's selector selects no workload",
  ),
  IST0128: warning(
    'NoServerCertificateVerificationDestinationLevel',
    'TLS to a server has no CA to verify it by',
  ),
  IST0129: warning(
    'NoServerCertificateVerificationPortLevel',
    'TLS to one port of a server has no CA to verify it by',
  ),
  IST0130: warning(
    'VirtualServiceUnreachableRule',
    'a route stands behind one that takes everything',
  ),
  IST0131: info('VirtualServiceIneffectiveMatch', 'a match stands in an earlier route already'),
  IST0132: warning(
    'VirtualServiceHostNotFoundInGateway',
    'a Gateway that a route names does not serve its host',
  ),
  IST0133: warning('SchemaWarning', 'a document is valid and probably not what is meant'),
  IST0134: warning(
    'ServiceEntryAddressesRequired',
    'a ServiceEntry has a TCP port and no addresses',
  ),
  IST0135: info('DeprecatedAnnotation', 'an annotation is used that Istio has replaced'),
  IST0137: warning(
    'DeploymentConflictingPorts',
    'services lead different ports to one workload port',
  ),
  IST0145: error('ConflictingGateways', 'two servers of Gateways cannot share a port'),
  IST0149: error(
    'JwtClaimBasedRoutingWithoutRequestAuthN',
    'a route asks for claims and no RequestAuthentication verifies any',
  ),
  IST0159: error('ConflictingTelemetryWorkloadSelectors', 'two Telemetries select one workload'),
  IST0160: error(
    'MultipleTelemetriesWithoutWorkloadSelectors',
    'a namespace has several Telemetries without a selector',
  ),
  IST0171: warning('NegativeConditionStatus', "a condition in an object's status is False"),
  IST0173: error(
    'DestinationRuleSubsetNotSelectPods',
    'a subset selects no workload of its service',
  ),
  IST0174: warning('UnknownDestinationRuleHost', 'the host of a DestinationRule is no service'),
  IST0177: warning(
    'ConflictingServiceEntryProtocol',
    'ServiceEntries give one port of one host different protocols',
  ),
  RDB0001: warning(
    'ShadowedRule',
    'another rule of the same action matches all that this one does',
  ),
  RDB0002: warning('ContradictedRule', 'a DENY rule matches all that this ALLOW rule does'),
  RDB0003: warning(
    'UnreachableRule',
    'no request can match the rule: what it asks for, it also excludes',
  ),
  RDB0004: warning('AllowsEverything', 'an ALLOW rule asks for nothing: everybody may do anything'),
  RDB0005: info(
    'AllowsAnybody',
    'an ALLOW rule does not ask who calls; callers without an identity pass too',
  ),
  RDB0006: warning(
    'SplitRule',
    'a rule with `from` alone stands beside one with `to` alone: a `-` too many makes "or" of "and"',
  ),
  RDB0007: warning('SelectsNothing', 'the selector of another kind selects no workload'),
  RDB0008: warning(
    'IneffectivePeerAuthentication',
    'it applies nowhere: a selector in the root namespace, or an older one of its scope',
  ),
  RDB0009: warning('PlaintextAccepted', 'workloads take plaintext beside mTLS (PERMISSIVE)'),
  RDB0010: warning('PlaintextOnly', 'workloads take plaintext only (DISABLE)'),
  RDB0011: warning(
    'HttpAttributeOnTcpPort',
    'a rule asks for HTTP attributes on a TCP port: ALLOW never matches there, DENY matches more',
  ),
  RDB0012: info(
    'DefaultDenyByAllow',
    'an ALLOW policy alone makes a workload refuse all that it does not match',
  ),
  RDB0013: warning(
    'PortClosedToAll',
    'ALLOW policies apply to a workload and none lets anybody to one of its ports',
  ),
  RDB0014: warning('UnknownIdentity', 'a principal or service account that no workload has'),
  RDB0015: warning('UnknownHost', 'a rule asks for a host that nothing in the mesh has'),
  RDB0016: warning(
    'UnknownPort',
    'a rule asks for a port that no workload which the policy selects has',
  ),
  RDB0017: warning(
    'ClaimsWithoutRequestAuthentication',
    'a rule asks for claims where no RequestAuthentication verifies a token',
  ),
  RDB0018: warning(
    'PrincipalWithScheme',
    'a principal is written with `spiffe://` and never matches',
  ),
  RDB0019: warning('MethodNeverSent', 'a method is not in upper case or unknown and never matches'),
  RDB0020: warning('PathNeverSeen', 'a path that no request has after normalisation'),
  RDB0021: info('RepeatedValue', 'a value stands twice in one list'),
  RDB0022: warning('NobodyEnforces', 'every workload that the policy selects is without a sidecar'),
  RDB0023: error('ProviderNotFound', 'a CUSTOM policy asks a provider that nobody is'),
  RDB0024: error('SeveralProviders', 'policies of one workload ask several providers'),
  RDB0025: warning(
    'ProviderNotAskedOnTcp',
    'an HTTP provider is asked of a workload with TCP ports',
  ),
  RDB0026: error('CasbinPolicyText', 'a text of a CasbinPolicy is missing or cannot be read'),
  RDB0027: info('OldVersion', 'an apiVersion has a newer one with the same fields'),
}

/** The object that a finding is about. */
export interface Subject {
  readonly kind: string
  /** Empty for kinds without one. */
  readonly namespace: string
  readonly name: string
}

/** What a check says; {@link Finding} is what becomes of it. */
export interface Draft {
  readonly code: FindingCode
  readonly subject: Subject
  /** In the object's document. */
  readonly path: readonly PathKey[]
  /** A sentence without its full stop: what is so. */
  readonly message: string
  /** What to do. */
  readonly hint: string
  /** Set when the repair is certain: it changes the decision of no request, nor where one goes. */
  readonly fix?: ManifestEdit
}

/** One finding, as `--output json` prints it. */
export interface Finding extends Subject {
  readonly code: FindingCode
  readonly severity: Severity
  readonly title: string
  readonly file: string
  /** From 1. */
  readonly line: number
  /** JSON Pointer into the document. */
  readonly pointer: string
  readonly message: string
  readonly hint: string
  /** `--fix` repairs it. */
  readonly fixable: boolean
}
