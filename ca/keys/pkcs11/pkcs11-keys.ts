/** Keys in an HSM: made there, never leaving it, found again by their identifier as CKA_ID. */
import { createPublicKey, hash } from 'node:crypto'

import type { Clock } from '#core/clock.ts'
import { CaError } from '../../error.ts'
import { signerOf } from '../../x509/algorithm.ts'
import { derSignature } from '../ecdsa.ts'
import { type KeyStore, type SigningKey, storeIdOf } from '../signing-key.ts'
import { loadPkcs11 } from './library.ts'
import { findKey, generateKey, KEY_HALF, readPublicKey, signDigest } from './objects.ts'
import { openSessions, type Session, type TokenConfig } from './sessions.ts'

/**
 * The keys in the token that `config` names.
 *
 * @throws {CaError} `CA_SIGNER_UNAVAILABLE` if the module does not load
 */
export function openPkcs11Keys(config: TokenConfig, clock: Clock): KeyStore {
  const library = loadPkcs11(config.module)
  const sessions = openSessions(library, config, clock)
  /** Objects by identifier, as long as their handles hold. */
  const handles = new Map<string, { readonly handle: bigint; readonly epoch: number }>()

  const privateHalf = async (session: Session, id: string): Promise<bigint | undefined> => {
    const known = handles.get(id)
    if (known?.epoch === session.epoch) return known.handle
    const handle = await findKey(library, session, KEY_HALF.private, id)
    if (handle !== undefined) handles.set(id, { handle, epoch: session.epoch })
    return handle
  }
  const keyOf = (publicKeyDer: Uint8Array, id: string): SigningKey => {
    const spki = { key: Buffer.from(publicKeyDer), format: 'der', type: 'spki' } as const
    return {
      id,
      publicKeyDer,
      signer: signerOf(createPublicKey(spki)),
      sign: async (bytes) => {
        const digest = hash('sha256', bytes, 'buffer')
        const raw = await sessions.with(async (session) => {
          const handle = await privateHalf(session, id)
          if (handle === undefined) throw halfGone(config, id, 'private')
          return signDigest(library, session, handle, digest)
        })
        return derSignature(raw)
      },
    }
  }
  return {
    name: `keys of the PKCS#11 token "${config.token}"`,
    isLasting: true,
    async create() {
      const publicKeyDer = await sessions.with((session) => generateKey(library, session))
      return keyOf(publicKeyDer, storeIdOf(publicKeyDer))
    },
    open: (id) =>
      sessions.with(async (session) => {
        if ((await privateHalf(session, id)) === undefined) return undefined
        const open = await findKey(library, session, KEY_HALF.public, id)
        if (open === undefined) throw halfGone(config, id, 'public')
        return keyOf(await readPublicKey(library, session, open), id)
      }),
    take: () => Promise.reject(notTaken(config)),
    async remove(id) {
      handles.delete(id)
      await sessions.with(async (session) => {
        for (const half of [KEY_HALF.private, KEY_HALF.public]) {
          const object = await findKey(library, session, half, id)
          if (object !== undefined) await library.call('C_DestroyObject', session.handle, object)
        }
      })
    },
    [Symbol.asyncDispose]: () => sessions[Symbol.asyncDispose](),
  }
}

function halfGone({ token }: TokenConfig, id: string, half: 'private' | 'public'): CaError {
  return new CaError(
    'CA_SIGNER_UNAVAILABLE',
    `Cannot use the key ${id} of the PKCS#11 token "${token}": its ${half} half is gone`,
  )
}

function notTaken({ token }: TokenConfig): CaError {
  return new CaError(
    'CA_STATE_UNUSABLE',
    `Cannot bring a key into the PKCS#11 token "${token}": keys are made there, expected a new state directory or a new CA`,
  )
}
