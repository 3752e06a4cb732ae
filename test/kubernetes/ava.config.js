/** What needs a real API server: not part of `npm test`, run by `npm run test:kubernetes`. */
export default {
  extensions: ['ts'],
  files: ['test/kubernetes/**/*.test.ts'],
  nodeArguments: ['--disable-warning=ExperimentalWarning'],
  workerThreads: false,
  concurrency: 1,
  timeout: '120s',
}
