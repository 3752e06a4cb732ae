/** PeerAuthentication (istio-semantics §2). */
import { z } from 'zod'

import type { MtlsMode } from '../../model/bundle.ts'
import { checkDryRunValue, isDryRun, REDOUBT_DRY_RUN } from '../dry-run.ts'
import { defineKind, type Kind } from '../kind.ts'
import { refOf } from '../metadata.ts'
import { fields } from '../schema.ts'
import { matchLabelsSchema, selectorOf, warnEmptySelector } from './selector.ts'

const mtls = fields({ mode: z.enum(['UNSET', 'DISABLE', 'PERMISSIVE', 'STRICT']).optional() })

const spec = fields(
  {
    selector: matchLabelsSchema.optional(),
    mtls: mtls.optional(),
    portLevelMtls: z.record(z.string(), mtls).optional(),
  },
  {
    check: ({ selector, portLevelMtls }, report) => {
      if (!portLevelMtls) return
      const ports = Object.keys(portLevelMtls)
      if (!selectorOf(selector)) {
        report(
          ['portLevelMtls'],
          'it needs a selector with labels: mesh and namespace modes have no ports',
        )
      }
      if (ports.length === 0) report(['portLevelMtls'], 'it is empty: expected at least one port')
      for (const port of ports) {
        if (!/^[1-9]\d{0,4}$/.test(port) || Number(port) > 65535) {
          report(
            ['portLevelMtls', port],
            `found ${JSON.stringify(port)}, expected a port from 1 to 65535`,
          )
        }
      }
    },
  },
)

type Mtls = z.output<typeof mtls>

function modeOf(written: Mtls | undefined): MtlsMode | undefined {
  return written?.mode === 'UNSET' ? undefined : written?.mode
}

export const peerAuthenticationKind: Kind = defineKind({
  group: 'security.istio.io',
  versions: ['v1', 'v1beta1'],
  kind: 'PeerAuthentication',
  spec: spec.optional(),
  check: ({ metadata }, report) => checkDryRunValue(metadata.annotations, REDOUBT_DRY_RUN, report),
  warn: ({ spec: written }) => warnEmptySelector(written?.selector),
  place: ({ metadata, spec: written = {} }) => {
    const selector = selectorOf(written.selector)
    const mode = modeOf(written.mtls)
    const ports = Object.entries(written.portLevelMtls ?? {})
    return {
      into: 'peerAuthentications',
      value: {
        ...refOf(metadata),
        ...(selector ? { selector } : {}),
        ...(mode ? { mode } : {}),
        ports: Object.fromEntries(ports.map(([port, level]) => [port, modeOf(level)])),
        dryRun: isDryRun(metadata.annotations, REDOUBT_DRY_RUN),
      },
    }
  },
})
