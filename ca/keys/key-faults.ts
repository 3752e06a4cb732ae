import type { KeyStoreConfig, SecretSource } from './open-keys.ts'

/** Everything that is wrong with what is said of a key store. Pure. */
export function keyStoreFaults(keys: KeyStoreConfig | undefined): readonly string[] {
  if (keys?.kind === 'pkcs11') {
    const { module, token, pin } = keys
    return [
      ...(module.startsWith('/') ? [] : [`keys.module is "${module}", expected an absolute path`]),
      ...(token === '' ? ['keys.token is empty, expected the label of a token'] : []),
      ...secretFaults('keys.pin', pin),
    ]
  }
  return keys?.kind === 'files' && keys.passphrase
    ? secretFaults('keys.passphrase', keys.passphrase)
    : []
}

/** Variables of these names are not handed on to the apps of a mesh. */
const SECRET_VARIABLE = /^REDOUBT_[A-Z0-9_]+$/

function secretFaults(at: string, source: SecretSource): readonly string[] {
  if ('file' in source) {
    const { file } = source
    return file.startsWith('/') ? [] : [`${at}.file is "${file}", expected an absolute path`]
  }
  return SECRET_VARIABLE.test(source.env)
    ? []
    : [`${at}.env is "${source.env}", expected a name that starts with REDOUBT_`]
}
