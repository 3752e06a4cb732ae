/** Certificates in Kubernetes manifests: what `kubectl get secret` and `configmap` print. */
import { createPrivateKey, type KeyObject } from 'node:crypto'

import { parseAllDocuments } from 'yaml'

import { CaError } from '../error.ts'

/** Bytes; an object of Kubernetes is 1 MiB at most, and those with certificates are a few KiB. */
const MAX_MANIFEST_BYTES = 262_144

/** Of lists and maps in YAML: a Secret has hardly any, and thousands in each other take seconds. */
const MAX_BRACKETS = 1000

/** Names by which cert-manager, Istio, ingresses and operators know what a value is. */
const ROOTS: ReadonlySet<string> = new Set(['ca.crt', 'ca.pem', 'root-cert.pem', 'bundle.pem'])
const KEYS: ReadonlySet<string> = new Set(['tls.key', 'key.pem', 'ca-key.pem'])
/** Those with the leaf come first. */
const LEAVES: readonly string[] = ['tls.crt', 'cert.pem', 'ca-cert.pem', 'cert-chain.pem']

/** PEM by what it is for. */
export interface Manifest {
  readonly kind: string
  /** With the leaf first. */
  readonly chain: readonly string[]
  readonly roots: readonly string[]
  readonly key?: KeyObject
}

interface Document {
  readonly kind?: unknown
  readonly items?: unknown
  readonly data?: unknown
  readonly stringData?: unknown
  readonly binaryData?: unknown
}

/**
 * The certificates and the key in Secrets and ConfigMaps, YAML or JSON, several documents or a list.
 *
 * @throws {CaError} `CA_DER_INVALID` if it is no manifest of these kinds, or too large
 */
export function readManifest(bytes: Uint8Array): Manifest {
  if (bytes.length > MAX_MANIFEST_BYTES) {
    throw refused(`it has ${bytes.length} bytes, expected at most ${MAX_MANIFEST_BYTES}`)
  }
  const documents = parse(Buffer.from(bytes).toString('utf8')).flatMap(itemsOf)
  const wanted = documents.filter(({ kind }) => kind === 'Secret' || kind === 'ConfigMap')
  const [first] = wanted
  if (!first) throw refused('it is neither a Secret nor a ConfigMap')
  const values = wanted.flatMap(valuesOf)
  const certificates = values.filter(([, text]) => text.includes('-----BEGIN CERTIFICATE-----'))
  const rank = ([name]: Value) => (LEAVES.indexOf(name) + LEAVES.length + 1) % (LEAVES.length + 1)
  const key = keyOf(values)
  return {
    kind: String(first.kind),
    chain: certificates
      .filter(([name]) => !ROOTS.has(name))
      .sort((a, b) => rank(a) - rank(b))
      .map(([, text]) => text),
    roots: certificates.filter(([name]) => ROOTS.has(name)).map(([, text]) => text),
    ...(key && { key }),
  }
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

function refused(why: string, cause?: unknown): CaError {
  return new CaError('CA_DER_INVALID', `Cannot read the manifest: ${why}`, { cause })
}
