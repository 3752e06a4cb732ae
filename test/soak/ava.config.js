/** What runs for minutes to see that nothing grows: not part of `npm test`, run by `npm run test:soak`. */
export default {
  extensions: ['ts'],
  files: ['test/soak/**/*.test.ts'],
  nodeArguments: ['--disable-warning=ExperimentalWarning'],
  require: ['./test/fakes/compile-cache.ts', './test/fakes/random-seed.ts'],
  workerThreads: false,
  concurrency: 1,
  timeout: '1500s',
}
