/** More random pairs than `npm test` has time for: run by `npm run test:pairs`. */
export default {
  extensions: ['ts'],
  files: ['test/random/**/*.test.ts'],
  nodeArguments: ['--disable-warning=ExperimentalWarning'],
  require: ['./test/fakes/compile-cache.ts', './test/fakes/random-seed.ts'],
  workerThreads: false,
  concurrency: 1,
  timeout: '600s',
}
