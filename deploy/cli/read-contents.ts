/** What a file or a pipe holds: also Kubernetes manifests, as `kubectl get secret` and `configmap` print them. */
import { createPrivateKey, type KeyObject } from 'node:crypto'

import { parseAllDocuments } from 'yaml'

import { type Contents, MAX_INPUT_BYTES, readCertificates, readInput } from '#ca/inspect/index.ts'
import { DeployError } from '../error.ts'

/** Bytes; an object of Kubernetes is 1 MiB at most, and those with certificates are a few KiB. */
const MAX_MANIFEST_BYTES = 262_144

/** Of lists and maps in YAML: a Secret has hardly any, and thousands in each other take seconds. */
const MAX_BRACKETS = 1000

/** Names by which cert-manager, Istio, ingresses and operators know what a value is. */
const ROOTS: ReadonlySet<string> = new Set(['ca.crt', 'ca.pem', 'root-cert.pem', 'bundle.pem'])
const KEYS: ReadonlySet<string> = new Set(['tls.key', 'key.pem', 'ca-key.pem'])
/** Those with the leaf come first. */
const LEAVES: readonly string[] = ['tls.crt', 'cert.pem', 'ca-cert.pem', 'cert-chain.pem']

interface Document {
  readonly kind?: unknown
  readonly items?: unknown
  readonly data?: unknown
  readonly stringData?: unknown
  readonly binaryData?: unknown
}

/**
 * Whatever `readInput` reads, and what is in Kubernetes Secrets and ConfigMaps: YAML or JSON,
 * several documents or a list.
 *
 * @param password - Of a PKCS#12.
 * @throws {CaError} `CA_DER_INVALID`
 * @throws {DeployError} `DEPLOY_USAGE` if it is a manifest of another kind, too large, or without certificates
 */
export function readContents(bytes: Uint8Array, password?: string): Contents {
  return isManifest(bytes) ? fromManifest(bytes) : readInput(bytes, password)
}

/** YAML that says so, or JSON with such a member; a SPIFFE bundle is JSON with "keys". */
function isManifest(bytes: Uint8Array): boolean {
  if (bytes.length > MAX_INPUT_BYTES) return false
  const text = Buffer.from(bytes).toString('latin1')
  if (/^\s*\{/.test(text)) return text.includes('"kind"') && !text.includes('"keys"')
  return /^kind:\s*["']?\w/m.test(text)
}

function fromManifest(bytes: Uint8Array): Contents {
  if (bytes.length > MAX_MANIFEST_BYTES) {
    throw refused(`it has ${bytes.length} bytes, expected at most ${MAX_MANIFEST_BYTES}`)
  }
  const documents = parse(Buffer.from(bytes).toString('utf8')).flatMap(itemsOf)
  const wanted = documents.filter(({ kind }) => kind === 'Secret' || kind === 'ConfigMap')
  if (wanted.length === 0) throw refused('it is neither a Secret nor a ConfigMap')
  const format = String(wanted[0]?.kind)
  const values = wanted.flatMap(valuesOf)
  const inOrder = values.toSorted(([a], [b]) => rankOf(a) - rankOf(b))
  const certificates = certificatesIn(inOrder.filter(([name]) => !ROOTS.has(name)))
  const roots = certificatesIn(inOrder.filter(([name]) => ROOTS.has(name)))
  if (certificates.length + roots.length === 0) throw refused(`the ${format} has no certificate`)
  if (certificates.length === 0) return { format, certificates: roots }
  const key = keyOf(values)
  return { format, certificates, ...(roots.length > 0 && { roots }), ...(key && { key }) }
}

function rankOf(name: string): number {
  return LEAVES.includes(name) ? LEAVES.indexOf(name) : LEAVES.length
}

/** Each once: `cert-chain.pem` begins with `ca-cert.pem`. */
function certificatesIn(values: readonly Value[]): readonly Uint8Array[] {
  const found = values
    .filter(([, text]) => text.includes('-----BEGIN CERTIFICATE-----'))
    .flatMap(([, text]) => readCertificates(Buffer.from(text, 'latin1')))
  return [...new Map(found.map((der) => [Buffer.from(der).toString('base64'), der])).values()]
}

type Value = readonly [name: string, text: string]

function parse(text: string): readonly Document[] {
  try {
    if (/^\s*\{/.test(text)) return [JSON.parse(text) as Document]
    if (text.split(/[[{]/).length > MAX_BRACKETS) throw new Error('it has too many brackets')
    return parseAllDocuments(text, { uniqueKeys: false, logLevel: 'silent' }).flatMap(
      (document) => {
        const [fault] = document.errors
        if (fault) throw fault
        const value: unknown = document.toJS()
        return isObject(value) ? [value] : []
      },
    )
  } catch (cause) {
    // Whatever two parsers make of hostile text: aliases in aliases are a ReferenceError, for one.
    if (/call stack/.test(String(cause))) throw refused('it is nested too deeply', cause)
    const [line = ''] = (cause as Error).message.split('\n')
    throw refused(line.replace(/[:.]?$/, '').slice(0, 200), cause)
  }
}

/** Those of a List, which is what `kubectl get -o yaml` prints of several. */
function itemsOf(document: Document): readonly Document[] {
  return Array.isArray(document.items) ? document.items.filter(isObject) : [document]
}

function valuesOf({ kind, data, stringData, binaryData }: Document): readonly Value[] {
  const encoded = entriesOf(kind === 'Secret' ? data : binaryData)
  const plain = entriesOf(kind === 'Secret' ? stringData : data)
  return [
    ...encoded.map(([name, text]): Value => [name, Buffer.from(text, 'base64').toString('latin1')]),
    ...plain,
  ]
}

function entriesOf(map: unknown): readonly Value[] {
  return isObject(map)
    ? Object.entries(map).filter((entry): entry is [string, string] => typeof entry[1] === 'string')
    : []
}

function keyOf(values: readonly Value[]): KeyObject | undefined {
  const pem = values.find(([name]) => KEYS.has(name))?.[1]
  try {
    return pem === undefined ? undefined : createPrivateKey(pem)
  } catch (cause) {
    throw refused('the private key in it is none', cause)
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

function refused(why: string, cause?: unknown): DeployError {
  return new DeployError('DEPLOY_USAGE', `Cannot read the manifest: ${why}`, { cause })
}
