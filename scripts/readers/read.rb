# ruby read.rb READER FILE...: a line of JSON for each file, with the variables
# it gave in base64.
require 'base64'
require 'json'

READERS = {
  'dotenv' => lambda do |file|
    require 'dotenv'
    Dotenv.respond_to?(:parse) ? Dotenv.parse(file) : Dotenv::Environment.new(file, true)
  end,
  'foreman' => lambda do |file|
    require 'foreman/env'
    vars = {}
    Foreman::Env.new(file).entries { |name, value| vars[name] = value }
    vars
  end
}.freeze

name, *files = ARGV
$stdout.sync = true
files.each do |file|
  out = { file: file }
  begin
    out[:vars] = READERS[name].call(file).to_h.transform_values { |v| Base64.strict_encode64(v.to_s) }
  rescue StandardError => e
    out[:error] = e.message.to_s.b.inspect
  end
  puts JSON.generate(out)
end
