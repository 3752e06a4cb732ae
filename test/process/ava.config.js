/** The stories of whole meshes that take longest: `npm run test:process`. */
import base from '../random/ava.config.js'

export default {
  ...base,
  files: ['rotation', 'federation', 'gateway'].map((name) => `test/process/${name}.test.ts`),
  concurrency: 1,
  timeout: '180s',
}
