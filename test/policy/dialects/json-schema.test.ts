import test from 'ava'
import { z } from 'zod'

import { KINDS } from '#policy/dialects/kinds.ts'

for (const { kind, schema } of KINDS) {
  test(`the schema of ${kind} is a JSON Schema too, closed at every level`, (t) => {
    const made = z.toJSONSchema(schema)
    t.is(made.additionalProperties, false)
    t.like(made.properties, { kind: { const: kind } })
  })
}
