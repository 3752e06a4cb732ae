/** ProxyConfig (istio-semantics §11.1). Checked only. */
import { z } from 'zod'

import { defineKind, type Kind } from '../kind.ts'
import { fields } from '../schema.ts'
import { matchLabelsSchema, warnEmptySelector } from './selector.ts'
import { count, orNull } from './values.ts'

const spec = fields({
  selector: matchLabelsSchema.optional(),
  concurrency: orNull(count).optional(),
  environmentVariables: z.record(z.string(), z.string().max(2048)).optional(),
  image: fields({ imageType: z.string().optional() }).optional(),
})

export const proxyConfigKind: Kind = defineKind({
  group: 'networking.istio.io',
  versions: ['v1beta1'],
  kind: 'ProxyConfig',
  spec: spec.optional(),
  warn: ({ spec: written }) => warnEmptySelector(written?.selector),
  place: 'nothing: a sidecar of ours is one Node process without settings of its own',
})
