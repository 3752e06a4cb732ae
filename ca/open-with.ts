/** What of a CA's configuration decides where its keys and authorities come from. */
import { type CaConfig, exactLives } from './config.ts'
import { openKeyStore } from './keys/open-keys.ts'
import type { KeyStore } from './keys/signing-key.ts'
import { type CaHealth, endsSoon } from './health.ts'
import type { CaDeps } from './open-ca.ts'
import type { OpenAuthority, OpenWith } from './open-authority.ts'
import { openPlugged, type Plugged } from './plugged/keep-plugged.ts'

export function openWith(config: CaConfig, deps: CaDeps): OpenWith {
  const { pluggedIn: dir, trustDomain, keys = { kind: 'files' } } = config
  const { now, clock, log, env = {} } = deps
  return {
    env,
    log,
    openKeys: (stateDir) => openKeyStore(keys, stateDir, { clock, env }),
    openPlugged:
      dir === undefined
        ? undefined
        : ({ open: openKey }: KeyStore): Promise<Plugged> =>
            openPlugged({ dir, trustDomain, openKey, now, clock, log }),
  }
}

/** Follows what is plugged in until disposed; of no effect where nothing is. */
export function keepPluggedIn(
  { plugged, followPlugged }: OpenAuthority,
  config: CaConfig,
  { now, clock, log }: CaDeps,
): AsyncDisposable {
  const ended = new AbortController()
  const { maxLeafTtl } = exactLives(config)
  const deps = { now, clock, log, maxLeafTtl }
  const settled = Promise.allSettled([
    plugged?.follow(ended.signal),
    followPlugged(deps, ended.signal),
  ])
  return {
    async [Symbol.asyncDispose]() {
      ended.abort()
      await settled
    },
  }
}

/** Leaves that a plugged-in CA must be able to issue whole before its end is worth a word. */
const LEAVES_LEFT = 6

/** Health, in the words of whoever has to act: the next keys are put into a directory, not rotated to. */
export function pluggedHealth(
  { ready, reasons }: CaHealth,
  { plugged }: OpenAuthority,
  config: CaConfig,
  now: Temporal.Instant,
): CaHealth {
  const dir = config.pluggedIn
  if (!plugged || dir === undefined) return { ready, reasons }
  const { endsAt, authority } = plugged.live.current
  const leafMs = exactLives(config).leafTtl.total('milliseconds')
  const isShort =
    endsAt.epochMilliseconds - now.epochMilliseconds < LEAVES_LEFT * leafMs ||
    endsSoon({ notBefore: authority.certificate.notBefore, notAfter: endsAt }, now)
  const fault = plugged.fault()
  return {
    ready,
    reasons: [
      ...reasons.map((reason) =>
        reason.replace(/redoubt ca rotate [^)]*/, `put the next CA into ${dir}`),
      ),
      ...(isShort ? [`the CA in ${dir} ends at ${endsAt}: put the next one there`] : []),
      ...(fault === undefined ? [] : [`${fault}; the last that was in order signs`]),
    ],
  }
}
