// Every rule of the strict, type-checked set is on; each one turned off says why.
import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['node_modules/', 'dist/', 'coverage/', '.signalbox/'] },
  ...tseslint.configs.strictTypeChecked,
  ...tseslint.configs.stylisticTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      // A closed union must stay closed: a new state has to be handled where states are switched on.
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      // Numbers are what most of our messages are made of.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      // `() => void work()` and `async` stubs that satisfy an interface are idiom here.
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/require-await': 'off',
      // SQL and JSON records are read by key; a type alias is the clearer form for a union of them.
      '@typescript-eslint/consistent-type-definitions': 'off',
      // index signatures are accessed with brackets (tsconfig noPropertyAccessFromIndexSignature).
      '@typescript-eslint/dot-notation': 'off',
      'no-restricted-properties': [
        'error',
        {
          object: 'Date',
          property: 'now',
          message: 'Use clock.monotonicMs() for windows; rows use the database clock.',
        },
        { object: 'Math', property: 'random', message: 'Jitter lives in runtime/backoff.ts, ids in runtime/ids.ts.' },
      ],
      'no-console': 'error',
    },
  },
  {
    // The command line and the scripts that print to a person are the only places that own stdout.
    files: ['src/main.ts', 'src/cli/**', 'test/demo/**', 'test/bench/**'],
    rules: { 'no-console': 'off' },
  },
  {
    // The one home of jitter.
    files: ['src/runtime/backoff.ts'],
    rules: { 'no-restricted-properties': 'off' },
  },
  {
    files: ['**/*.js'],
    ...tseslint.configs.disableTypeChecked,
  },
);
