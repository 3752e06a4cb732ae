/** What a `Mesh` says of its CA, for the CA's process: every path absolute. Pure. */
import { resolve } from 'node:path'

import type { Intent } from '#policy/index.ts'
import type { CaAuthority, FederatedDomain, LedgerSettings } from './messages.ts'

/** @param cwd - Absolute: what relative paths start from. */
export function caAuthorityOf({ mesh }: Intent, cwd: string): CaAuthority {
  const {
    replicas,
    ledger,
    keys,
    listen,
    serverNames,
    pluggedIn,
    kubernetes,
    machines = [],
  } = mesh.certificateAuthority ?? {}
  const at = (path: string): string => resolve(cwd, path)
  const place = (secret: SecretPlace) => secretAt(secret, cwd)
  const { endpoint } = mesh.federation ?? {}
  const certificate = endpoint?.certificate
  return {
    ...(replicas !== undefined && { replicas }),
    ...(ledger && { ledger: ledgerAt(ledger, cwd) }),
    ...(keys && {
      keys:
        keys.kind === 'pkcs11'
          ? { ...keys, module: at(keys.module), pin: place(keys.pin) }
          : keys.kind === 'files' && keys.passphrase
            ? { ...keys, passphrase: place(keys.passphrase) }
            : keys,
    }),
    ...(listen !== undefined && { listen }),
    ...(serverNames && { serverNames }),
    ...(pluggedIn !== undefined && { pluggedIn: at(pluggedIn) }),
    ...(kubernetes && {
      kubernetes: {
        ...kubernetes,
        kubeconfig:
          kubernetes.kubeconfig === 'in-cluster' ? 'in-cluster' : at(kubernetes.kubeconfig),
      },
    }),
    machines: machines.map((one) => ({ ...one, rootsFile: at(one.rootsFile) })),
    ...(endpoint && {
      endpoint: {
        ...endpoint,
        ...(certificate && {
          certificate: {
            certificateFile: at(certificate.certificateFile),
            keyFile: at(certificate.keyFile),
          },
        }),
      },
    }),
  }
}

type SecretPlace = LedgerSettings['passphrase']

function secretAt(secret: SecretPlace, cwd: string): SecretPlace {
  return 'file' in secret ? { file: resolve(cwd, secret.file) } : secret
}

function ledgerAt({ passphrase, password, caFile, ...ledger }: LedgerSettings, cwd: string) {
  return {
    ...ledger,
    passphrase: secretAt(passphrase, cwd),
    ...(password && { password: secretAt(password, cwd) }),
    ...(caFile !== undefined && { caFile: resolve(cwd, caFile) }),
  }
}

/** The trust domains that are federated with: what may change while the mesh runs. */
export function federatedDomainsOf({ mesh }: Intent, cwd: string): readonly FederatedDomain[] {
  const at = (path: string): string => resolve(cwd, path)
  return (mesh.federation?.trustDomains ?? []).map(({ name, url, profile }) => ({
    trustDomain: name,
    url,
    profile:
      profile.kind === 'https_web'
        ? {
            kind: profile.kind,
            ...(profile.rootsFile !== undefined && { rootsFile: at(profile.rootsFile) }),
          }
        : {
            kind: profile.kind,
            endpointSpiffeId: profile.endpointSpiffeId,
            ...(profile.bootstrapFile !== undefined && {
              bootstrapFile: at(profile.bootstrapFile),
            }),
          },
  }))
}
