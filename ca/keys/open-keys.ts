/** Which key store a CA is told to use, and opening it. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

import type { Clock } from '#core/clock.ts'
import { CaError } from '../error.ts'
import { KEYS_FOLDER, openFileKeys } from './file-keys.ts'
import { createMemoryKeys } from './memory-keys.ts'
import type { KeyStore } from './signing-key.ts'

/** Where a secret is. The secret itself is in no configuration, argument or log. */
export type SecretSource =
  /** Absolute path; one newline at its end is not part of the secret. */
  | { readonly file: string }
  /** Name of a variable of the CA's environment. */
  | { readonly env: string }

/** Where the CA's keys are. */
export type KeyStoreConfig =
  /** They end with the process: after a restart it is another CA. */
  | { readonly kind: 'memory' }
  /** Files of mode 0600 below the state directory; with a passphrase, encrypted. */
  | { readonly kind: 'files'; readonly passphrase?: SecretSource }
  /** A token of a PKCS#11 module. */
  | {
      readonly kind: 'pkcs11'
      /** Absolute path of the module, a shared library. */
      readonly module: string
      /** Label of the token. */
      readonly token: string
      readonly pin: SecretSource
    }

export interface OpenKeysDeps {
  readonly clock: Clock
  readonly env: Readonly<Record<string, string | undefined>>
}

/**
 * Opens the store that `config` names, for the CA whose state is in `stateDir`.
 *
 * @throws {CaError} `CA_STATE_UNUSABLE`, `CA_SIGNER_UNAVAILABLE`, `CA_CONFIG_INVALID` if a secret is not where it is said to be
 */
export async function openKeyStore(
  config: KeyStoreConfig,
  stateDir: string,
  { clock, env }: OpenKeysDeps,
): Promise<KeyStore> {
  switch (config.kind) {
    case 'memory':
      return createMemoryKeys()
    case 'files': {
      const { passphrase } = config
      const secret = passphrase && (await readSecret('passphrase', passphrase, env))
      return openFileKeys(join(stateDir, KEYS_FOLDER), secret)
    }
    case 'pkcs11': {
      const { module, token } = config
      const pin = () => readSecret('PIN', config.pin, env)
      // Loaded by whoever has an HSM, and by nobody else.
      const { openPkcs11Keys } = await import('./pkcs11/pkcs11-keys.ts')
      return openPkcs11Keys({ module, token, pin }, clock)
    }
    default:
      return config satisfies never
  }
}

/**
 * The secret at `source`.
 *
 * @param what - `passphrase`, `PIN`: for messages, which never hold the secret.
 * @throws {CaError} `CA_CONFIG_INVALID` if there is none, or it is empty
 */
export async function readSecret(
  what: string,
  source: SecretSource,
  env: OpenKeysDeps['env'],
): Promise<string> {
  const place = 'file' in source ? `file ${source.file}` : `variable ${source.env}`
  const secret = 'file' in source ? await readFrom(what, source.file) : env[source.env]
  if (secret) return secret
  throw noSecret(what, place, secret === undefined ? 'it is not set' : 'it is empty')
}

async function readFrom(what: string, file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).replace(/\r?\n$/, '')
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    throw noSecret(what, `file ${file}`, code === 'ENOENT' ? 'it is not there' : message, cause)
  }
}

function noSecret(what: string, place: string, why: string, cause?: unknown): CaError {
  return new CaError('CA_CONFIG_INVALID', `Cannot read the ${what} in the ${place}: ${why}`, {
    cause,
  })
}
