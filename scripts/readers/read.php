<?php
// php read.php READER FILE...: a line of JSON for each file, with the variables it
// gave in base64. PHPDOTENV is the src folder of phpdotenv; else it is Debian's.

error_reporting(E_ERROR);

function load(string $reader): void
{
    $libraries = '/usr/share/php/';
    if ($reader === 'symfony') {
        require $libraries . 'Symfony/Component/Dotenv/autoload.php';
        return;
    }
    $own = getenv('PHPDOTENV');
    if ($own) {
        spl_autoload_register(function (string $class) use ($own) {
            $file = $own . '/' . str_replace('\\', '/', substr($class, strlen('Dotenv\\'))) . '.php';
            if (str_starts_with($class, 'Dotenv\\') && is_file($file)) {
                require $file;
            }
        });
    }
    require $libraries . 'Dotenv/autoload.php';
}

function parse(string $reader, string $file): array
{
    if ($reader === 'symfony') {
        $symfony = new Symfony\Component\Dotenv\Dotenv();
        $before = array_keys($_ENV);
        $symfony->load($file); // the loader, which opens the file itself
        $vars = array_diff_key($_ENV, array_flip($before));
        foreach (array_keys($vars) as $name) {
            unset($_ENV[$name], $_SERVER[$name]);
            putenv($name);
        }
        unset($_ENV['SYMFONY_DOTENV_VARS'], $_SERVER['SYMFONY_DOTENV_VARS']);
        return $vars;
    }
    return Dotenv\Dotenv::createArrayBacked(dirname($file))->load();
}

[, $reader] = $argv;
load($reader);
foreach (array_slice($argv, 2) as $file) {
    $out = ['file' => $file];
    try {
        $out['vars'] = (object) array_map(fn($v) => base64_encode((string) $v), parse($reader, $file));
    } catch (Throwable $e) {
        $out['error'] = $e->getMessage();
    }
    echo json_encode($out, JSON_INVALID_UTF8_SUBSTITUTE), "\n";
}
