/**
 * A PKCS#11 module in this process (OASIS PKCS#11 2.40), called from threads of koffi's: no call
 * blocks the event loop, however long the hardware takes.
 *
 * Every argument is a number of 64 bits: a value, or the address of memory that lives as long as the
 * call. That is how both ABIs that this runs on (Linux x64 and arm64) pass them.
 */
import koffi from 'koffi'

import { CaError } from '../../error.ts'

/** Places in CK_FUNCTION_LIST, which all versions of the standard share. */
const FUNCTIONS = {
  C_Initialize: 0,
  C_GetSlotList: 4,
  C_GetTokenInfo: 6,
  C_OpenSession: 12,
  C_CloseSession: 13,
  C_Login: 18,
  C_DestroyObject: 22,
  C_GetAttributeValue: 24,
  C_SetAttributeValue: 25,
  C_FindObjectsInit: 26,
  C_FindObjects: 27,
  C_FindObjectsFinal: 28,
  C_SignInit: 42,
  C_Sign: 43,
  C_GenerateKeyPair: 59,
} as const

export type Pkcs11Function = keyof typeof FUNCTIONS

/** A number, memory, or no memory. */
export type Pkcs11Argument = number | bigint | Memory | null

/** Bytes outside JavaScript's heap: they do not move while another thread uses them. */
export type Memory = Buffer<ArrayBuffer>

/** The module's word against a call: its CKR value. */
export class Pkcs11Failure extends Error {
  override readonly name = 'Pkcs11Failure'
  readonly code: number

  constructor(call: Pkcs11Function, code: number) {
    const name = CKR_NAMES[code] ?? `0x${code.toString(16)}`
    super(`${call} answered ${name}`)
    this.code = code
  }
}

/** Return values that are told apart, or by name. */
export const CKR = {
  deviceError: 0x30,
  deviceRemoved: 0x32,
  pinIncorrect: 0xa0,
  pinLocked: 0xa4,
  sessionClosed: 0xb0,
  sessionHandleInvalid: 0xb3,
  objectHandleInvalid: 0x82,
  keyHandleInvalid: 0x60,
  tokenNotPresent: 0xe0,
  userAlreadyLoggedIn: 0x100,
  userNotLoggedIn: 0x101,
  alreadyInitialized: 0x191,
} as const

const CKR_NAMES: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(CKR).map(([name, code]) => [
    code,
    `CKR_${name.replace(/[A-Z]/g, '_$&').toUpperCase()}`,
  ]),
)

/** A function of the module; its last argument takes what it answered. */
interface NativeFunction {
  readonly async: (...args: readonly unknown[]) => void
}

/** A loaded module. */
export interface Pkcs11Library {
  /** @throws {Pkcs11Failure} */
  readonly call: (name: Pkcs11Function, ...args: readonly Pkcs11Argument[]) => Promise<void>
}

/** Bytes of CK_VERSION with its padding, before the first function. */
const LIST_HEAD = 8
const POINTER_BYTES = 8

/**
 * Loads the module at `path`.
 *
 * @throws {CaError} `CA_SIGNER_UNAVAILABLE` if there is none, or it is no PKCS#11 module
 */
export function loadPkcs11(path: string): Pkcs11Library {
  const list = functionList(path)
  const functions = new Map<Pkcs11Function, NativeFunction>()
  const functionOf = (name: Pkcs11Function, count: number): NativeFunction => {
    const known = functions.get(name)
    if (known) return known
    const at = LIST_HEAD + FUNCTIONS[name] * POINTER_BYTES
    const found = bind(list, at, count)
    functions.set(name, found)
    return found
  }
  return {
    call(name, ...args) {
      const numbers = args.map((arg) => (typeof arg === 'object' ? addressOf(arg) : BigInt(arg)))
      return new Promise((resolve, reject) => {
        functionOf(name, args.length).async(...numbers, (fault: unknown, code: number | bigint) => {
          // `args` is named here so that its memory outlives the call.
          if (fault)
            reject(new Error(`Cannot call ${name} with ${args.length} arguments`, { cause: fault }))
          else if (Number(code) !== 0) reject(new Pkcs11Failure(name, Number(code)))
          else resolve()
        })
      })
    },
  }
}

function bind(list: bigint, at: number, count: number): NativeFunction {
  const pointer = koffi.decode(list, at, 'void *') as bigint
  const type = koffi.proto(
    'uint64_t',
    Array.from({ length: count }, () => 'uint64_t'),
  )
  return koffi.decode(pointer, type) as NativeFunction
}

function functionList(path: string): bigint {
  const refuse = (why: string, cause?: unknown) =>
    new CaError('CA_SIGNER_UNAVAILABLE', `Cannot use the PKCS#11 module ${path}: ${why}`, { cause })
  const list: [bigint | null] = [null]
  try {
    const get = koffi.load(path).func('uint64_t C_GetFunctionList(_Out_ void **list)')
    get(list)
  } catch (cause) {
    throw refuse('it does not load, expected the path of a shared library that is one', cause)
  }
  if (list[0] === null) throw refuse('it has no functions')
  return list[0]
}

function addressOf(memory: Memory | null): bigint {
  return memory === null ? 0n : koffi.address(memory)
}

/** Zeroed memory, or memory with a copy of `bytes`. */
export function memory(content: number | Uint8Array): Memory {
  if (typeof content === 'number') return Buffer.from(new ArrayBuffer(content))
  const copy = Buffer.from(new ArrayBuffer(content.length))
  copy.set(content)
  return copy
}

/** CK_ULONG. */
export function ulong(value: number | bigint): Memory {
  const bytes = memory(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}

/** Several structures of three words, in a row: CK_ATTRIBUTE, CK_MECHANISM. */
export function words(
  ...rows: readonly (readonly [type: number, value: Memory | null, length: number])[]
): Memory {
  const bytes = memory(24 * rows.length)
  for (const [index, [type, value, length]] of rows.entries()) {
    bytes.writeBigUInt64LE(BigInt(type), 24 * index)
    bytes.writeBigUInt64LE(addressOf(value), 24 * index + 8)
    bytes.writeBigUInt64LE(BigInt(length), 24 * index + 16)
  }
  HELD.set(
    bytes,
    rows.map(([, value]) => value),
  )
  return bytes
}

/** What structures point to lives as long as they do. */
const HELD = new WeakMap<Memory, readonly (Memory | null)[]>()
