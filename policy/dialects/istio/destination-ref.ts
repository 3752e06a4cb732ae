/** Where a route leads (istio-semantics §5.5). */
import type { z } from 'zod'

import { dnsLabelFault, wildcardDomainFault } from '../grammar.ts'
import { fields, text } from '../schema.ts'
import { portNumber } from './values.ts'

/** What {@link destinationSchema} accepts. */
export interface RawDestination {
  readonly host: string
  readonly subset?: string | undefined
  readonly port?: { number: number } | undefined
}

export const destinationSchema: z.ZodType<RawDestination> = fields({
  host: text((host) =>
    host === '*' ? 'found "*", expected the name of a service' : wildcardDomainFault(host),
  ),
  subset: text((name) => (name === '' ? undefined : dnsLabelFault(name))).optional(),
  port: fields({ number: portNumber }).optional(),
})
