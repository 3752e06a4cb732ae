/** The stories of whole meshes that take longest: `npm run test:process`. */
import base from '../random/ava.config.js'

export default {
  ...base,
  files: ['test/process/rotation.test.ts', 'test/process/federation.test.ts'],
  concurrency: 1,
  timeout: '180s',
}
