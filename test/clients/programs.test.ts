import { accessSync, constants } from 'node:fs'
import test from 'ava'
import { PROGRAMS } from './programs.ts'

for (const { variable, title } of PROGRAMS) {
  test(`${title} can be run, or there is a reason why not`, (t) => {
    const program = process.env[variable]
    const why = process.env[`${variable}_MISSING`]
    if (why) t.log(`NOT TO BE HAD: ${why}`)
    else t.notThrows(() => accessSync(program ?? '', constants.X_OK), 'use npm run test:clients')
    t.truthy(program ?? why)
  })
}
