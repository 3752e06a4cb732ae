/**
 * The CA, or the several that a mesh has on one database: each with a state directory and a log of its
 * own, kept running on the address it had. Whatever is asked of the CA, any that runs can do.
 */
import { rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { DeployError } from '../error.ts'
import type { ControlPlaneOptions } from './control-processes.ts'
import { orAborted, startEntryPoint, type SuperviseDeps } from './entry-point.ts'
import { type KeptProcess, keepProcess } from './kept-process.ts'
import type { CaEvent, CaProcessConfig, CaReady, LedgerSettings } from './messages.ts'

/** Where a CA listens; kept over restarts. */
export interface CaAddresses {
  readonly address: string
  readonly metrics: string
}

/** All of them; there is one at least. */
export interface KeptCas {
  readonly processes: readonly KeptProcess[]
  readonly at: readonly CaAddresses[]
  /** PEM of every root. */
  readonly roots: () => string
  /** Calls one that runs; the next where that one ends meanwhile. */
  readonly call: KeptProcess['call']
  /** Calls each that runs. */
  readonly callAll: (name: string, body?: unknown) => Promise<void>
}

const ANY_PORT = '127.0.0.1:0'

/** Where their ledger is, by the command line or the manifests; `undefined`: in the state directory. */
export function ledgerOf({ ca, authority }: ControlPlaneOptions): LedgerSettings | undefined {
  return ca.ledger ?? authority().ledger
}

/** Starts them; every change of their bundle is written to both files. */
export function keepCas(
  options: ControlPlaneOptions,
  files: BundleFiles,
  deps: SuperviseDeps,
): KeptCas {
  const { replicas = 1 } = options.authority()
  const ledger = ledgerOf(options)
  // A change of either holds from the next start of the mesh on: two ledgers would be two CAs.
  const pinned = { ...options, ca: { ...options.ca, ...(ledger && { ledger }) } }
  const bundle = keepBundle(files)
  const cas = Array.from({ length: replicas }, (_, at) => keepCa(pinned, { at, bundle }, deps))
  const processes = cas.map(({ process }) => process)
  const running = (): readonly KeptProcess[] =>
    processes.filter((process) => process.state() === 'ready')
  return {
    processes,
    at: cas.map(({ at }) => at),
    roots: bundle.roots,
    async call(name, body) {
      const [first, ...others] = running()
      if (!first) return (processes[0] as KeptProcess).call(name, body)
      let answer = first.call(name, body)
      for (const other of others) {
        answer = answer.catch((cause: unknown) => {
          if (hasEnded(cause)) return other.call(name, body)
          throw cause
        })
      }
      return answer
    },
    async callAll(name, body) {
      await Promise.all(
        running().map(async (process) => {
          await process.call(name, body).catch((cause: unknown) => {
            if (!hasEnded(cause)) throw cause // it is started with the newest
          })
        }),
      )
    },
  }
}

function hasEnded(cause: unknown): boolean {
  return cause instanceof DeployError && cause.code === 'DEPLOY_PROCESS_FAILED'
}

/** Where the newest bundle is for whoever reads files. Absolute. */
export interface BundleFiles {
  /** Roots, PEM. */
  readonly bundle: string
  /** As SPIFFE writes it, with the keys that verify JWT-SVIDs. */
  readonly document: string
}

export function bundleFilesIn(state: string): BundleFiles {
  return { bundle: join(state, 'bundle.pem'), document: join(state, 'bundle.json') }
}

interface KeptBundle {
  readonly roots: () => string
  /** What one of the CAs has, unless another was faster. */
  readonly take: (bundle: Omit<CaEvent, 'kind'>) => Promise<void>
}

function keepBundle(files: BundleFiles): KeptBundle {
  let held = { roots: '', document: '', generation: -1 }
  let written = Promise.resolve()
  const write = async (): Promise<void> => {
    const { roots, document } = held
    for (const [file, text] of [
      [files.document, document],
      [files.bundle, roots],
    ] as const) {
      await writeFile(`${file}.new`, text, { mode: 0o644 })
      await rename(`${file}.new`, file)
    }
  }
  return {
    roots: () => held.roots,
    take({ roots, document, generation }) {
      if (generation < held.generation) return written
      held = { roots, document, generation }
      written = written.then(write, write)
      return written
    },
  }
}

/** `ca`, `ca-2`, `ca-3`: of the process, its log and its state directory. */
function nameOf(at: number): string {
  return at === 0 ? 'ca' : `ca-${at + 1}`
}

function keepCa(
  { topology, lives, ca, authority, federated }: ControlPlaneOptions,
  { at: place, bundle }: { readonly at: number; readonly bundle: KeptBundle },
  deps: SuperviseDeps,
): { readonly process: KeptProcess; readonly at: CaAddresses } {
  const name = nameOf(place)
  const { listen = ANY_PORT } = place === 0 ? authority() : {}
  const at = { address: listen, metrics: ANY_PORT }
  let hasServed = false
  const configuration = (): CaProcessConfig => {
    return {
      logFile: join(deps.state.path, 'logs', `${name}.log`),
      trustDomain: topology().trustDomain,
      stateDir: join(deps.state.path, name),
      listen: at.address,
      metrics: at.metrics,
      leafTtl: String(lives.leafTtl),
      maxLeafTtl: String(lives.maxLeafTtl),
      caTtl: String(lives.caTtl),
      rootTtl: String(lives.rootTtl),
      ...ca,
      authority: authority(),
      federated: federated(),
    }
  }
  const onEvent = (event: unknown): void => {
    bundle.take(event as CaEvent).catch((cause: unknown) => {
      deps.log('error', 'bundle-not-written', { cause: String(cause) })
    })
  }
  const title = place === 0 ? 'the CA' : `the CA ${name}`
  const process = keepProcess(
    {
      name,
      start: () => startEntryPoint('ca', title, configuration(), deps, onEvent),
      async serve(child, signal) {
        const ready = (await orAborted(child.ready, signal)) as CaReady
        if (ready.fault !== undefined && !hasServed) throw cannotSign(ready.fault)
        hasServed = true
        Object.assign(at, { address: ready.address, metrics: ready.metrics })
        await bundle.take(ready)
      },
    },
    deps,
  )
  return { process, at }
}

/** At the start of a mesh: nobody in it would get a certificate. */
function cannotSign(why: string): DeployError {
  return new DeployError(
    'DEPLOY_PROCESS_FAILED',
    `Cannot start the mesh: its CA signs nothing: ${why}; redoubt ca rotate start --force, then promote --force and finish --force, lead to another root`,
  )
}
